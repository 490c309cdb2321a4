//! `x-api-key`. The version header belongs to the request: it names the dialect we speak, not who we are.

use http::{HeaderMap, HeaderValue};

use crate::AuthError;

pub(super) fn authorize(headers: &mut HeaderMap, secret: &str) -> Result<(), AuthError> {
    let mut value = HeaderValue::try_from(secret).map_err(|_| AuthError)?;
    value.set_sensitive(true);
    headers.insert("x-api-key", value);
    Ok(())
}
