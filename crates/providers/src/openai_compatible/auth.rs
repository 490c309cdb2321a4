//! `Authorization: Bearer`.

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};

use crate::AuthError;

pub(super) fn authorize(headers: &mut HeaderMap, secret: &str) -> Result<(), AuthError> {
    let mut value = HeaderValue::try_from(format!("Bearer {secret}")).map_err(|_| AuthError)?;
    value.set_sensitive(true);
    headers.insert(AUTHORIZATION, value);
    Ok(())
}
