//! Who may ask.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Whether the `Authorization` header carries the key, in one of the documented ways: `Bearer KEY`,
/// `Basic` with `KEY:` in base64, or `Basic KEY`.
pub(crate) fn allowed(header: Option<&str>, key: &str) -> bool {
    let Some((scheme, given)) = header.and_then(|h| h.trim().split_once(' ')) else { return false };
    let given = given.trim();
    match scheme.to_ascii_lowercase().as_str() {
        "bearer" => given == key,
        "basic" => {
            given == key || STANDARD.decode(given).is_ok_and(|text| text == format!("{key}:").as_bytes())
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::allowed;

    #[test]
    fn the_three_documented_ways_and_no_other() {
        // `printf k: | base64` is `azo=`.
        for good in ["Bearer k", "bearer k", "Basic azo=", "Basic k"] {
            assert!(allowed(Some(good), "k"), "{good}");
        }
        for bad in ["", "k", "Bearer", "Bearer x", "Bearer k2", "Basic aw==", "Basic azp4", "Digest k"] {
            assert!(!allowed(Some(bad), "k"), "{bad}");
        }
        assert!(!allowed(None, "k"));
    }
}
