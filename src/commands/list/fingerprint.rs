//! A public key as `ssh-keygen -lf` prints it. Pure.

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use sha2::{Digest, Sha256};

/// A public key, as far as people tell keys apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PublicKey {
    /// `ED25519`; OpenSSH's own name where this version does not know the kind.
    pub(super) kind: String,
    /// How long it is, for kinds that we know.
    pub(super) bits: Option<usize>,
    /// `SHA256:…`.
    pub(super) fingerprint: String,
    /// Often whose it is, and where.
    pub(super) comment: String,
}

/// Reads one line of OpenSSH's format; nothing where it is none.
pub(super) fn parse(line: &str) -> Option<PublicKey> {
    let mut words = line.split_whitespace();
    let (name, key) = (words.next()?, words.next()?);
    let blob = STANDARD_NO_PAD.decode(key.trim_end_matches('=')).ok()?;
    // A key begins with its own name.
    let mut rest = blob.as_slice();
    if take(&mut rest)? != name.as_bytes() {
        return None;
    }
    let (kind, bits) = kind_of(name, rest);
    let fingerprint = format!("SHA256:{}", STANDARD_NO_PAD.encode(Sha256::digest(&blob)));
    Some(PublicKey { kind, bits, fingerprint, comment: words.collect::<Vec<_>>().join(" ") })
}

/// The next part of a key: four bytes that say how long it is, then so many.
fn take<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, tail) = rest.split_first_chunk::<4>()?;
    let (part, tail) = tail.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
    *rest = tail;
    Some(part)
}

/// What `ssh-keygen` calls it, and how many bits it has. `rest` is the key behind its name.
fn kind_of(name: &str, mut rest: &[u8]) -> (String, Option<usize>) {
    let bits = |number: Option<&[u8]>| {
        let number = number?;
        let zeros = number.iter().take_while(|byte| **byte == 0).count();
        let first = number.get(zeros)?;
        Some((number.len() - zeros) * 8 - first.leading_zeros() as usize)
    };
    let (kind, bits) = match name {
        "ssh-ed25519" => ("ED25519", Some(256)),
        "sk-ssh-ed25519@openssh.com" => ("ED25519-SK", Some(256)),
        "ecdsa-sha2-nistp256" => ("ECDSA", Some(256)),
        "ecdsa-sha2-nistp384" => ("ECDSA", Some(384)),
        "ecdsa-sha2-nistp521" => ("ECDSA", Some(521)),
        "sk-ecdsa-sha2-nistp256@openssh.com" => ("ECDSA-SK", Some(256)),
        // The exponent comes before the modulus.
        "ssh-rsa" => ("RSA", take(&mut rest).and_then(|_| bits(take(&mut rest)))),
        other => (other, None),
    };
    (kind.to_owned(), bits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// As `ssh-keygen` made them, and what `ssh-keygen -lf` printed.
    const KEYS: [(&str, &str); 3] = [
        (
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILFoWqXer3dqNw3k1iv5KBYCy7Qnzv03D652llUNTeqK me at home",
            "256 SHA256:diN9TS56lQxnosaJ1mVUXwBfhDKpksPgWuL94OS+HSE me at home (ED25519)",
        ),
        (
            "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQDAOIwTeJkO59/KCCZ4+pIg9PUBz9/7twFR70PTUPy1H6K4/luo16SKDmRffTv+v5Cc4nHtagXcU7z+XRFhPp1fv95g7bKFhtbw+ElL0qdokV+JpXphntAtghe1uzUU3ZFtHyvKfMj8WgpkSdx0ZoE+NudMn3yu4KsnS2vyn+ey5e56FUmNMM1laQQFIg1/HrGXOz9IQE9aihk7TZMKpKNJwjLaKeHJWcKgrYvGgOLqBqJ7d7PKQAf1n1FaLN0da4JUkZ7ye0uDUM1wdLyFTIzj8fsDVGoHctV3Equk6rYdhMf/0uKJTG1eU++AsrygvCOkWHdPJxFqr/4sLMRdSqEd ann@laptop",
            "2048 SHA256:nQAluqWKdUr0SycmOh8GXPRiPiwk+QARvG6vkyqKlXc ann@laptop (RSA)",
        ),
        (
            "ecdsa-sha2-nistp521 AAAAE2VjZHNhLXNoYTItbmlzdHA1MjEAAAAIbmlzdHA1MjEAAACFBAHgGxBot+D0kmORAVw3NrFuYG++f0ZXLa5W+I2gwyi6I4xeAv/vkAxjB8HataGA+UkOrz776V1HnRgxgrfSlddRVgFrzXK70xU+Z2TS6FO/S7hZK4gauZJjzeMjQfAE+yEOvhEHsu7nFcfGOf9tnmaXXR72FBMqOpCWbe6D1pbJV3Itvg== old key",
            "521 SHA256:jK0AQ3xZcL93tHz1GTivffXIfFo5L4gzwsQygHZDaSM old key (ECDSA)",
        ),
    ];

    #[test]
    fn it_is_what_ssh_keygen_prints() {
        for (line, expected) in KEYS {
            let PublicKey { kind, bits, fingerprint, comment } = parse(&format!("{line}\n")).unwrap();
            assert_eq!(format!("{} {fingerprint} {comment} ({kind})", bits.unwrap()), expected);
        }
    }

    #[test]
    fn kinds_that_are_new_keep_their_name() {
        let blob = STANDARD_NO_PAD.encode(b"\0\0\0\x07ssh-new\0\0\0\x01k");
        let key = parse(&format!("ssh-new {blob}== ")).unwrap();
        assert_eq!((key.kind.as_str(), key.bits, key.comment.as_str()), ("ssh-new", None, ""));
    }

    #[test]
    fn what_is_no_key_is_none() {
        let other = KEYS[0].0.replacen("ssh-ed25519", "ssh-rsa", 1);
        for text in
            ["", "ssh-ed25519", "ssh-ed25519 ?", "ssh-ed25519 AAAA", "-----BEGIN KEY----- AAAA", &other]
        {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(name in "(ssh-rsa|ssh-new)", bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let mut blob = u32::try_from(name.len()).unwrap().to_be_bytes().to_vec();
            blob.extend(name.bytes().chain(bytes));
            let line = format!("{name} {}", STANDARD_NO_PAD.encode(blob));
            prop_assert!(parse(&line).is_some());
        }

        #[test]
        fn no_text_makes_it_panic(text in ".{0,20} [A-Za-z0-9+/=]{0,40}.{0,20}") {
            parse(&text);
        }
    }
}
