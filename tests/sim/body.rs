//! Reading requests: what the document demands of a field, in one place for all endpoints.

use std::net::Ipv4Addr;

use serde_json::{Map, Value};

use super::catalog;
use super::errors::{Failure, invalid};

/// A JSON object that came.
pub(crate) struct Body(Map<String, Value>);

type Answer<T> = Result<T, Failure>;

impl Body {
    /// Whatever the content type says: the document's own examples send JSON as a form.
    pub(crate) fn parse(bytes: &[u8]) -> Answer<Self> {
        match serde_json::from_slice(bytes) {
            Ok(Value::Object(fields)) => Ok(Self(fields)),
            Ok(_) => Err(invalid("the body is no JSON object")),
            Err(_) => Err(invalid("the body is no JSON")),
        }
    }

    /// A part of a body.
    fn of(value: &Value, field: &str) -> Answer<Self> {
        value.as_object().cloned().map(Self).ok_or_else(|| invalid(format!("{field}: not an object")))
    }

    pub(crate) fn get(&self, field: &str) -> Option<&Value> {
        self.0.get(field)
    }

    pub(crate) fn text(&self, field: &str) -> Answer<Option<String>> {
        match self.0.get(field) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(invalid(format!("{field}: not a string"))),
        }
    }

    /// A text of a length, in characters.
    pub(crate) fn text_of(
        &self,
        field: &str,
        length: std::ops::RangeInclusive<usize>,
    ) -> Answer<Option<String>> {
        let text = self.text(field)?;
        match &text {
            Some(t) if !length.contains(&t.chars().count()) => {
                Err(invalid(format!("{field}: between {} and {} characters", length.start(), length.end())))
            }
            _ => Ok(text),
        }
    }

    pub(crate) fn needed<T>(&self, field: &str, value: Option<T>) -> Answer<T> {
        value.ok_or_else(|| invalid(format!("{field}: missing")))
    }

    fn list(&self, field: &str) -> Answer<Option<&Vec<Value>>> {
        match self.0.get(field) {
            None => Ok(None),
            Some(Value::Array(all)) => Ok(Some(all)),
            Some(_) => Err(invalid(format!("{field}: not a list"))),
        }
    }

    pub(crate) fn texts(&self, field: &str) -> Answer<Option<Vec<String>>> {
        let Some(all) = self.list(field)? else { return Ok(None) };
        let text = |v: &Value| v.as_str().map(str::to_owned);
        all.iter()
            .map(|v| text(v).ok_or_else(|| invalid(format!("{field}: not all strings"))))
            .collect::<Answer<_>>()
            .map(Some)
    }

    pub(crate) fn objects(&self, field: &str) -> Answer<Vec<Body>> {
        let all = self.list(field)?;
        all.into_iter().flatten().map(|value| Body::of(value, field)).collect()
    }

    pub(crate) fn object(&self, field: &str) -> Answer<Option<Body>> {
        self.0.get(field).map(|value| Body::of(value, field)).transpose()
    }

    /// A region of the document.
    pub(crate) fn region(&self, field: &str) -> Answer<String> {
        let name = self.needed(field, self.text(field)?)?;
        match catalog::region(&name) {
            Some(_) => Ok(name),
            None => Err(invalid(format!("{field}: there is no such region"))),
        }
    }

    /// Firewall rules, as they are to be shown.
    pub(crate) fn rules(&self, field: &str) -> Answer<Option<Vec<Value>>> {
        let Some(_) = self.list(field)? else { return Ok(None) };
        self.objects(field)?.into_iter().map(|rule| rule.rule()).collect::<Answer<_>>().map(Some)
    }

    fn rule(mut self) -> Answer<Value> {
        let protocol = self.needed("protocol", self.text("protocol")?)?;
        if !["tcp", "udp", "icmp", "all"].contains(&protocol.as_str()) {
            return Err(invalid("protocol: unknown"));
        }
        self.needed("description", self.text_of("description", 0..=128)?)?;
        let network = self.needed("source_network", self.text("source_network")?)?;
        if !is_network(&network) {
            return Err(invalid("source_network: no IPv4 network"));
        }
        let ports = match self.list("port_range")? {
            None => None,
            Some(all) => {
                // 22.0 is an integer to JSON Schema.
                let port = |v: &Value| {
                    let whole =
                        v.as_u64().or_else(|| v.as_f64().filter(|f| f.fract() == 0.0).map(|f| f as u64));
                    whole.filter(|port| (1..=65535).contains(port))
                };
                let ports: Option<Vec<u64>> = all.iter().map(port).collect();
                Some(
                    ports
                        .filter(|p| p.len() == 2 && p[0] <= p[1])
                        .ok_or_else(|| invalid("port_range: no range"))?,
                )
            }
        };
        match (&*protocol, ports) {
            ("icmp", Some(_)) => return Err(invalid("port_range: not for icmp")),
            ("icmp", None) => {}
            (_, None) => return Err(invalid("port_range: missing")),
            (_, Some(ports)) => {
                self.0.insert("port_range".to_owned(), ports.into());
            }
        }
        self.0
            .retain(|k, _| ["protocol", "port_range", "source_network", "description"].contains(&k.as_str()));
        Ok(Value::Object(self.0))
    }
}

/// An IPv4 address, with the length of a prefix or without.
fn is_network(text: &str) -> bool {
    let (address, prefix) = text.split_once('/').unwrap_or((text, "32"));
    let digits = !prefix.is_empty() && prefix.len() <= 2 && prefix.bytes().all(|b| b.is_ascii_digit());
    address.parse::<Ipv4Addr>().is_ok() && digits && prefix.parse::<u8>().is_ok_and(|p| p <= 32)
}

/// `^[a-z0-9][0-9a-z-]{0,62}$`
pub(crate) fn is_hostname(text: &str) -> bool {
    let small = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.len() <= 63 && text.starts_with(small) && text.chars().all(|c| small(c) || c == '-')
}

/// `^[a-z][a-z0-9-:]+$`, at most 55.
pub(crate) fn is_tag_key(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == ':';
    (2..=55).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.chars().all(inner)
}

/// `^(/home|/lambda/nfs|/data)[//a-zA-Z0-9-]*$`, at most 256.
pub(crate) fn is_mount_point(text: &str) -> bool {
    let rest = ["/home", "/lambda/nfs", "/data"].iter().find_map(|top| text.strip_prefix(top));
    text.len() <= 256
        && rest.is_some_and(|r| r.chars().all(|c| c.is_ascii_alphanumeric() || c == '/' || c == '-'))
}

/// `^[a-zA-Z]+[0-9a-zA-Z-]*$`
pub(crate) fn is_filesystem_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_what_the_document_says() {
        assert!(is_hostname("0-a") && !is_hostname("-a") && !is_hostname("A") && !is_hostname(""));
        assert!(is_tag_key("devbox:launch") && !is_tag_key("d") && !is_tag_key("1d") && !is_tag_key("d_"));
        assert!(
            is_mount_point("/home") && is_mount_point("/lambda/nfs/a-B/1") && is_mount_point("/database")
        );
        assert!(!is_mount_point("/nix") && !is_mount_point("/home/a.b") && !is_mount_point("/data/\n"));
        assert!(is_filesystem_name("a1-") && !is_filesystem_name("1a") && !is_filesystem_name("ä"));
        assert!(is_network("1.2.3.4") && is_network("0.0.0.0/0"));
        assert!(
            !is_network("1.2.3.4/33")
                && !is_network("1.2.3.4/")
                && !is_network("::/0")
                && !is_network("1.2.3.4/+8")
        );
    }

    #[test]
    fn rules_are_held_to_the_words_of_the_document_too() {
        let rules = |text: &str| Body::parse(text.as_bytes()).and_then(|body| body.rules("rules"));
        let rule = |protocol: &str, ports: &str| {
            rules(&format!(
                r#"{{"rules": [{{"protocol": "{protocol}", {ports} "source_network": "0.0.0.0/0", "description": ""}}]}}"#
            ))
        };
        assert!(rule("tcp", r#""port_range": [22, 22],"#).is_ok() && rule("icmp", "").is_ok());
        for (protocol, ports) in [
            ("tcp", ""),
            ("icmp", r#""port_range": [1, 2],"#),
            ("all", r#""port_range": [2, 1],"#),
            ("x", ""),
        ] {
            assert!(rule(protocol, ports).is_err(), "{protocol} {ports}");
        }
        assert_eq!(rules("{}"), Ok(None));
    }
}
