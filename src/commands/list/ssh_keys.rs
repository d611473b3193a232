//! `devbox list ssh-keys`: who may log in.

use crate::commands::list::fingerprint::{PublicKey, parse};
use crate::commands::list::listing::Listing;
use crate::provider::catalog::SshKey;
use crate::ui::card::Card;
use crate::ui::table::{Cell, Column};

const COLUMNS: &[Column] = &[
    Column::new("NAME").flexible(16),
    Column::new("TYPE").optional(1),
    Column::new("BITS").right().optional(3),
    // `SHA256:` and 43 letters: whole, as long as there is room for that.
    Column::new("FINGERPRINT").flexible(50),
    Column::new("COMMENT").flexible(12).optional(2),
    Column::new("ID").spare(4),
];

pub(super) fn listing(keys: &[SshKey]) -> Listing {
    let card = |k: &SshKey| {
        let mut card = Card::new(&k.name);
        match parse(&k.public_key) {
            Some(PublicKey { kind, bits, fingerprint, comment }) => {
                card.line("type", bits.map_or_else(|| kind.clone(), |bits| format!("{kind}, {bits} bits")));
                card.line("fingerprint", fingerprint).line("comment", comment);
            }
            None => {
                card.line("fingerprint", "unknown: this is no public key in OpenSSH's format");
            }
        }
        card.line("id", &k.id).extra("", &k.extra);
        card
    };
    let row = |k: &SshKey| -> Vec<Cell> {
        let key = parse(&k.public_key);
        let of = |part: fn(&PublicKey) -> String| key.as_ref().map(part).unwrap_or_default();
        vec![
            k.name.as_str().into(),
            of(|key| key.kind.clone()).into(),
            of(|key| key.bits.map(|bits| bits.to_string()).unwrap_or_default()).into(),
            key.as_ref().map_or("unknown", |key| &key.fingerprint).into(),
            of(|key| key.comment.clone()).into(),
            k.id.as_str().into(),
        ]
    };
    Listing::of(keys, card, COLUMNS, row)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn keys() {
        let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILFoWqXer3dqNw3k1iv5KBYCy7Qnzv03D652llUNTeqK";
        let keys = json!([
            {
                "id": "ddf9a910ceb744a0bb95242cbba6cb50", "name": "my laptop",
                "public_key": format!("{key} me at home"), "private_key": "-----BEGIN",
            },
            {
                "id": "edf9a910ceb744a0bb95242cbba6cb50", "name": "devbox-laptop-local-9de8a231",
                "public_key": format!("{key} \u{1b}[1A"),
            },
            {"id": "k3", "name": "Schlüssel\u{1b}[1A\u{1b}[2K", "public_key": "ssh-new ?", "last_used": null},
        ]);
        let keys: Vec<SshKey> = serde_json::from_value(keys).unwrap();
        insta::assert_snapshot!(listing(&keys).seen());
    }
}
