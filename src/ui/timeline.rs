//! What took how long, and what ran beside what. Pure.

use std::time::Duration;

use crate::events::{Outcome, Span};
use crate::ui::render_seconds;

/// Shorter phases are not worth a line.
const SHORTEST: Duration = Duration::from_millis(5);
/// What stands left of the bars and right of them.
const MARGINS: usize = 16 + 10;

/// One line for each phase, its bar where it was in time; `width` is the terminal's.
pub fn render_timeline(spans: &[Span], total: Duration, width: usize) -> Vec<String> {
    let room = width.saturating_sub(MARGINS).clamp(10, 60);
    let column = |at: Duration| {
        let share = at.as_secs_f64() / total.as_secs_f64().max(0.001);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of the width")]
        let column = (share.clamp(0.0, 1.0) * room as f64).round() as usize;
        column
    };
    spans
        .iter()
        .filter(|s| s.to.saturating_sub(s.from) >= SHORTEST)
        .map(|span| {
            let (from, to) = (column(span.from).min(room - 1), column(span.to));
            let bar = if matches!(span.outcome, Outcome::Failed | Outcome::Stopped) { "╌" } else { "━" };
            let bar = format!("{}{}", " ".repeat(from), bar.repeat(to.saturating_sub(from).max(1)));
            let took = render_seconds((span.to - span.from).as_secs_f64());
            format!("{:<15} {bar:<room$} {took:>8}", span.phase.label())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::Phase;
    use proptest::prelude::*;

    fn span(phase: Phase, from: u64, to: u64) -> Span {
        let ms = Duration::from_millis;
        Span { phase, from: ms(from), to: ms(to), outcome: Outcome::Done }
    }

    #[test]
    fn phases_side_by_side_are_seen_side_by_side() {
        let spans = [
            span(Phase::Environment, 0, 2000),
            span(Phase::Launch, 0, 500),
            span(Phase::Boot, 500, 3000),
            span(Phase::Facts, 3000, 3001),
            span(Phase::Transfer, 3000, 4000),
        ];
        let lines = render_timeline(&spans, Duration::from_secs(4), 56);
        insta::assert_snapshot!(lines.join("\n"), @r"
        environment     ━━━━━━━━━━━━━━━                   2.0 s
        launch          ━━━━                              0.5 s
        boot                ━━━━━━━━━━━━━━━━━━━           2.5 s
        transfer                               ━━━━━━━    1.0 s
        ");
    }

    proptest! {
        #[test]
        fn every_line_fits(from in 0u64..10_000, long in 0u64..10_000, total in 0u64..20_000, width in 0usize..200) {
            for line in render_timeline(&[span(Phase::Boot, from, from + long)], Duration::from_millis(total), width) {
                prop_assert!(console::measure_text_width(&line) <= width.max(MARGINS + 10));
            }
        }
    }
}
