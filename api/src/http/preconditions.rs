//! Conditions on the version of an entity (RFC 9110, section 13): the version, in quotes, is its `ETag`.

use shared::entity::Version;

use super::problem::{Code, Problem};

pub(super) fn etag(version: Version) -> String {
    format!("\"{version}\"")
}

/// The version that `If-Match` names; None where any will do.
pub(super) fn expected_version(if_match: Option<&str>, required: bool) -> Result<Option<Version>, Problem> {
    match if_match.map(str::trim) {
        None if required => Err(Problem::new(Code::VersionRequired)),
        None | Some("*") => Ok(None),
        Some(text) => match version(text) {
            Some(version) => Ok(Some(version)),
            None => Err(Problem::invalid_parameter("If-Match", "must be one version in quotes, or *")),
        },
    }
}

/// Whether the reader has this version already. What cannot be one of our tags matches nothing.
pub(super) fn is_known(if_none_match: Option<&str>, current: Version) -> bool {
    let mut known = if_none_match.into_iter().flat_map(|tags| tags.split(',')).map(str::trim);
    known.any(|tag| tag == "*" || version(tag.strip_prefix("W/").unwrap_or(tag)) == Some(current))
}

fn version(tag: &str) -> Option<Version> {
    let digits = tag.strip_prefix('"')?.strip_suffix('"')?;
    digits.parse().ok().map(Version)
}
