//! Cursors of lists: where a page ended, signed, for this list only.
//!
//! Base64url of `<HMAC-SHA256, 16 bytes><JSON of the last value and id>`. The signature covers what the list is
//! besides: its kind, its condition and its sort. So a cursor that was altered, or brought to another list, is none.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use sha2::Sha256;
use shared::{
    entity::{Entity, Id, Value},
    query::{Position, Query},
    specification::parse_text_value,
};

use super::problem::{Code, Problem};

const SIGNATURE_BYTES: usize = 16;

/// The keys that sign cursors: the first signs, all are accepted.
#[derive(Clone)]
pub(super) struct CursorKeys(Vec<Vec<u8>>);

impl CursorKeys {
    /// Of `server.cursor_keys`; where it is empty a key of this process.
    pub(super) fn new(configured: &SecretString) -> Self {
        let configured = configured.expose_secret();
        if configured.is_empty() {
            return Self(vec![rand::random::<[u8; 32]>().to_vec()]);
        }
        Self(configured.split(',').map(|key| key.trim().as_bytes().to_vec()).collect())
    }

    /// The cursor behind the last item of a page.
    pub(super) fn sign<E: Entity>(&self, query: &Query<E>, last: &E) -> String {
        let position = match query.after(last) {
            Position::After { value, id } => json!([text(&value), id.as_str()]),
            Position::Offset(_) => json!([]),
        };
        let position = position.to_string();
        let mut cursor = self.0.first().map(|key| signature(key, query, &position)).unwrap_or_default();
        cursor.extend_from_slice(position.as_bytes());
        URL_SAFE_NO_PAD.encode(cursor)
    }

    /// The position that a cursor of this very list tells.
    pub(super) fn verify<E: Entity>(&self, query: &Query<E>, cursor: &str) -> Result<Position, Problem> {
        self.read(query, cursor).ok_or_else(|| Problem::new(Code::InvalidCursor))
    }

    fn read<E: Entity>(&self, query: &Query<E>, cursor: &str) -> Option<Position> {
        let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
        let (signed, position) = bytes.split_at_checked(SIGNATURE_BYTES)?;
        let position = std::str::from_utf8(position).ok()?;
        if !self
            .0
            .iter()
            .any(|key| mac(key, query, position).is_some_and(|mac| mac.verify_truncated_left(signed).is_ok()))
        {
            return None;
        }
        let (value, id): (String, Id) = serde_json::from_str(position).ok()?;
        Some(Position::After { value: parse_text_value(query.sort.field(), &value).ok()?, id })
    }
}

fn signature<E: Entity>(key: &[u8], query: &Query<E>, position: &str) -> Vec<u8> {
    mac(key, query, position).map(|mac| mac.finalize().into_bytes()[..SIGNATURE_BYTES].to_vec()).unwrap_or_default()
}

fn mac<E: Entity>(key: &[u8], query: &Query<E>, position: &str) -> Option<Hmac<Sha256>> {
    // A key of any length is one.
    let mut mac = Hmac::<Sha256>::new_from_slice(key).ok()?;
    let list = json!([E::KIND.to_string(), query.specification.to_json(), query.sort.to_string(), position]);
    mac.update(list.to_string().as_bytes());
    Some(mac)
}

fn text(value: &Value<'_>) -> String {
    match value {
        Value::Null => String::new(),
        Value::Text(text) => text.to_string(),
        Value::Integer(number) => number.to_string(),
        Value::Amount(decimal) => decimal.to_string(),
        Value::Time(time) => time.to_text(),
    }
}
