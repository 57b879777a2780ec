//! One rule that was broken by what a client sent.

use poem_openapi::Object;

/// One thing that is wrong with what was sent. It never repeats the value, which may be personal.
#[derive(Clone, Debug, PartialEq, Eq, Object)]
#[oai(skip_serializing_if_is_none)]
pub struct Violation {
    /// Where in the body, as a JSON pointer (RFC 6901).
    pub pointer: Option<String>,
    /// Which parameter or header, where it is not in the body.
    pub parameter: Option<String>,
    /// Which rule.
    pub code: String,
    pub detail: String,
}

impl Violation {
    #[must_use]
    pub fn at(pointer: &str, code: &str, detail: String) -> Self {
        Self { pointer: Some(pointer.to_owned()), parameter: None, code: code.to_owned(), detail }
    }

    #[must_use]
    pub fn of_parameter(name: &str, detail: String) -> Self {
        Self { pointer: None, parameter: Some(name.to_owned()), code: "invalid".to_owned(), detail }
    }

    /// The pointer of an object's member (RFC 6901, section 3).
    #[must_use]
    pub fn member(object: &str, name: &str) -> String {
        format!("{object}/{}", name.replace('~', "~0").replace('/', "~1"))
    }
}
