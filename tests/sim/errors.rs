//! The errors of the API's document, each with its code and its status.

use serde_json::{Value, json};

/// What the API says instead of data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) status: u16,
    pub(crate) code: String,
    pub(crate) message: String,
    pub(crate) suggestion: Option<String>,
}

impl Failure {
    pub(crate) fn new(status: u16, code: &str, message: impl Into<String>) -> Self {
        Self { status, code: code.to_owned(), message: message.into(), suggestion: None }
    }

    pub(crate) fn suggest(mut self, suggestion: &str) -> Self {
        self.suggestion = Some(suggestion.to_owned());
        self
    }

    /// The envelope.
    pub(crate) fn body(&self) -> Value {
        let mut error = json!({"code": self.code, "message": self.message});
        if let Some(suggestion) = &self.suggestion {
            error["suggestion"] = json!(suggestion);
        }
        json!({ "error": error })
    }
}

pub(crate) fn invalid_api_key() -> Failure {
    Failure::new(401, "global/invalid-api-key", "API key was invalid, expired, or deleted.")
        .suggest("Check your API key or create a new one, then try again.")
}

pub(crate) fn account_inactive() -> Failure {
    Failure::new(403, "global/account-inactive", "Your account is inactive.").suggest(
        "Make sure you have verified your email address and have a valid payment method. Contact Support if \
         problems continue.",
    )
}

pub(crate) fn invalid_address() -> Failure {
    Failure::new(403, "global/invalid-address", "Your billing address is invalid.")
        .suggest("Make sure your billing address is valid. Contact Support if problems continue.")
}

pub(crate) fn invalid(why: impl Into<String>) -> Failure {
    Failure::new(400, "global/invalid-parameters", format!("Invalid request data: {}", why.into()))
}

pub(crate) fn no_such_instance() -> Failure {
    Failure::new(404, "global/object-does-not-exist", "Specified instance does not exist.")
}

pub(crate) fn no_such_filesystem() -> Failure {
    Failure::new(404, "global/object-does-not-exist", "Filesystem was not found.")
}

pub(crate) fn no_such_ruleset() -> Failure {
    Failure::new(
        404,
        "global/object-does-not-exist",
        "Firewall ruleset does not exist or you do not have permission to access it.",
    )
    .suggest("Check your firewall ruleset ID and try again.")
}

/// Something that a launch names. The document gives 400 and 404 for it, so the scenario says which.
pub(crate) fn launch_lacks(status: u16, what: impl Into<String>) -> Failure {
    Failure::new(status, "global/object-does-not-exist", what).suggest("List what there is, then try again.")
}

pub(crate) fn no_capacity() -> Failure {
    Failure::new(
        400,
        "instance-operations/launch/insufficient-capacity",
        "Not enough capacity to fulfill launch request.",
    )
    .suggest("Choose an instance type with more availability, or try again later.")
}

pub(crate) fn wrong_region(name: &str) -> Failure {
    Failure::new(
        400,
        "instance-operations/launch/file-system-in-wrong-region",
        format!("Filesystem {name} is not in the region of the instance."),
    )
    .suggest("Launch the instance in the region of the filesystem.")
}

pub(crate) fn quota() -> Failure {
    Failure::new(400, "global/quota-exceeded", "Quota exceeded.")
        .suggest("Contact Support to increase your quota.")
}

pub(crate) fn duplicate(what: &str) -> Failure {
    Failure::new(400, "global/duplicate", format!("{what} exists already."))
}

pub(crate) fn filesystem_in_use() -> Failure {
    Failure::new(400, "filesystems/filesystem-in-use", "The filesystem is in use by an instance.")
        .suggest("Terminate the instances that use the filesystem first.")
}

pub(crate) fn ruleset_in_use() -> Failure {
    Failure::new(
        400,
        "firewall-rulesets/firewall-ruleset-in-use",
        "Firewall ruleset is in use by one or more instances.",
    )
    .suggest("Terminate all instances that are using the ruleset before deleting it.")
}

pub(crate) fn internal(status: u16) -> Failure {
    Failure::new(status, "global/internal-error", "An internal server error occurred.")
        .suggest("Try again later. Contact Support if the problem persists.")
}

/// The document tells of these in prose only, with this example.
pub(crate) fn provider_unavailable(status: u16) -> Failure {
    Failure::new(status, "provider/internal-unavailable", "Provider unavailable").suggest("Try again shortly")
}

/// The document names the rates and declares no answer for going beyond them; the code is made up
/// in the style of the others. Clients go by the status.
pub(crate) fn too_many_requests() -> Failure {
    Failure::new(429, "global/too-many-requests", "Too many requests.").suggest("Slow down.")
}

/// For a path that the document does not have.
pub(crate) fn no_such_path() -> Failure {
    Failure::new(404, "global/not-found", "There is no such endpoint.")
}

/// For a method that the document does not have for a path.
pub(crate) fn no_such_method() -> Failure {
    Failure::new(405, "global/method-not-allowed", "The endpoint does not take this method.")
}
