//! Who calls, how important it is, and where that caller's data may go.

use std::collections::BTreeSet;

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName};
use meridian_ingress::{Refused, Retry};
use meridian_llm::ClientError;
use meridian_proto::accounts::Accounts;
use meridian_routing::Constraints;
use meridian_types::{Class, ErrorCode, Jurisdiction, KeyHash, Tenant, TenantName};

const DATA_REGION: &str = "x-data-region";
const API_KEY: &str = "x-api-key";

/// What a request is served as: `critical`, `default` or `batch`.
pub(crate) const CLASS: HeaderName = HeaderName::from_static("x-meridian-class");

/// Set by a node that hands a request over: whose it is. Read only of other nodes.
pub(crate) const TENANT: HeaderName = HeaderName::from_static("x-meridian-tenant");

/// Where a request came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// From a client, whose key says who it is.
    Client,
    /// From another node, which has looked at the key and is believed.
    Peer,
}

/// Who calls.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) tenant: TenantName,
    pub(crate) class: Class,
    pub(crate) constraints: Constraints,
}

impl Caller {
    /// What the tenant is, and what the request's headers make narrower.
    ///
    /// # Errors
    /// 400 if a header of ours is none.
    pub(crate) fn of(tenant: &Tenant, headers: &HeaderMap) -> Result<Self, Refused> {
        let class = class(tenant, headers)?;
        Ok(Self { tenant: tenant.name.clone(), class, constraints: constraints(tenant, headers)? })
    }
}

/// Whose request it is.
///
/// # Errors
/// 401 or 403 if that is not known.
pub(crate) fn tenant<'a>(
    origin: Origin,
    headers: &HeaderMap,
    accounts: &'a Accounts,
    now_unix_ms: i64,
) -> Result<&'a Tenant, Refused> {
    match origin {
        Origin::Client => authenticate(headers, accounts, now_unix_ms),
        Origin::Peer => vouched(headers, accounts),
    }
}

/// The tenant that another node names.
fn vouched<'a>(headers: &HeaderMap, accounts: &'a Accounts) -> Result<&'a Tenant, Refused> {
    let name = headers.get(TENANT).and_then(|name| TenantName::new(name.to_str().ok()?).ok());
    name.and_then(|name| accounts.tenants.get(&name)).ok_or_else(|| {
        Refused::new(ErrorCode::PermissionDenied, "the tenant is not known in this region").retry(Retry::Never)
    })
}

/// The tenant's class, or a lower one that the request asks for.
fn class(tenant: &Tenant, headers: &HeaderMap) -> Result<Class, Refused> {
    let Some(value) = headers.get(CLASS) else { return Ok(tenant.class) };
    let named = value.to_str().ok().and_then(|text| Class::named(text.trim()));
    let invalid = || ClientError::invalid(CLASS.as_str(), "must be critical, default or batch");
    Ok(tenant.class.min(named.ok_or_else(invalid)?))
}

/// The tenant whose key the request carries.
///
/// # Errors
/// 401. Unknown, revoked and expired keys look the same from outside.
pub(crate) fn authenticate<'a>(
    headers: &HeaderMap,
    accounts: &'a Accounts,
    now_unix_ms: i64,
) -> Result<&'a Tenant, Refused> {
    let Some(key) = bearer(headers).or_else(|| api_key(headers)) else {
        return Err(Refused::new(
            ErrorCode::InvalidApiKey,
            "no API key was given; send it in the header Authorization: Bearer KEY, or X-Api-Key: KEY",
        )
        .retry(Retry::Never));
    };
    let key = accounts.keys.get(&KeyHash::of(key)).filter(|key| key.is_valid_at(now_unix_ms));
    key.and_then(|key| accounts.tenants.get(&key.tenant)).ok_or_else(|| {
        Refused::new(ErrorCode::InvalidApiKey, "the API key is unknown, revoked or expired").retry(Retry::Never)
    })
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, key) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let key = key.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !key.is_empty()).then_some(key)
}

/// As Anthropic's clients send it. A bearer token goes first: who sets one for a gateway may still have a key of the
/// provider's own in the environment, and the SDK sends both.
fn api_key(headers: &HeaderMap) -> Option<&str> {
    let key = headers.get(API_KEY)?.to_str().ok()?.trim();
    (!key.is_empty()).then_some(key)
}

/// The tenant's constraints, narrowed by `X-Data-Region`: jurisdictions separated by commas.
///
/// # Errors
/// 400 if the header names something that cannot be a jurisdiction: ignoring it would let data go anywhere.
pub(crate) fn constraints(tenant: &Tenant, headers: &HeaderMap) -> Result<Constraints, Refused> {
    let mut constraints = Constraints::of(tenant);
    for value in headers.get_all(DATA_REGION) {
        let invalid =
            || ClientError::invalid("X-Data-Region", "must be jurisdictions separated by commas, such as EU, US");
        let text = value.to_str().map_err(|_| invalid())?;
        let places: Result<BTreeSet<_>, _> =
            text.split(',').map(|place| Jurisdiction::new(&place.trim().to_ascii_uppercase())).collect();
        constraints = constraints.narrowed_to(places.map_err(|_| invalid())?);
    }
    Ok(constraints)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use meridian_types::{Key, TenantName};

    use super::*;

    fn accounts() -> Accounts {
        let tenant: TenantName = "acme".parse().unwrap();
        let mut accounts = Accounts::default();
        let details = Tenant {
            name: tenant.clone(),
            allowed_jurisdictions: Vec::new(),
            allowed_models: Vec::new(),
            class: Class::Default,
        };
        accounts.tenants.insert(tenant.clone(), details);
        for (text, owner, expires, revoked) in [
            ("good", "acme", None, None),
            ("expired", "acme", Some(1000), None),
            ("revoked", "acme", None, Some(1)),
            ("orphan", "nobody", None, None),
        ] {
            let key = Key {
                hash: KeyHash::of(text),
                tenant: owner.parse().unwrap(),
                label: String::new(),
                created_at_unix_ms: 0,
                expires_at_unix_ms: expires,
                revoked_at_unix_ms: revoked,
            };
            accounts.keys.insert(key.hash, key);
        }
        accounts
    }

    #[track_caller]
    fn check(bearer: Option<&str>, api_key: Option<&str>, opens: bool) {
        let mut headers = HeaderMap::new();
        for (name, value) in [("authorization", bearer), ("x-api-key", api_key)] {
            if let Some(value) = value {
                headers.insert(name, HeaderValue::from_str(value).unwrap());
            }
        }
        let accounts = accounts();
        let outcome = authenticate(&headers, &accounts, 1000);
        assert_eq!(outcome.is_ok(), opens, "{bearer:?} {api_key:?}");
        if let Err(refused) = outcome {
            assert_eq!(refused.error.status(), 401);
        }
    }

    #[test]
    fn only_a_valid_key_of_a_known_tenant_opens() {
        check(Some("Bearer good"), None, true);
        check(Some("bearer  good "), None, true);
        check(None, Some("good"), true);
        check(Some("Bearer good"), Some("bad"), true);
        check(Some("Bearer bad"), Some("good"), false);
        for bad in ["Bearer bad", "Bearer expired", "Bearer revoked", "Bearer orphan", "Bearer ", "Basic good", "good"]
        {
            check(Some(bad), None, false);
        }
        for bad in ["bad", "expired", "revoked", "orphan", " "] {
            check(None, Some(bad), false);
        }
        check(None, None, false);
    }

    #[test]
    fn a_class_may_be_lowered_by_the_request_and_never_raised() {
        let check = |own: Class, header: Option<&str>, expected: Option<Class>| {
            let tenant = Tenant { class: own, ..accounts().tenants.into_values().next().unwrap() };
            let headers = header.map(|text| (CLASS, HeaderValue::from_str(text).unwrap()));
            assert_eq!(class(&tenant, &headers.into_iter().collect()).ok(), expected, "{own:?} {header:?}");
        };
        for own in Class::ALL {
            check(own, None, Some(own));
            for asked in Class::ALL {
                check(own, Some(asked.as_str()), Some(own.min(asked)));
            }
        }
        check(Class::Batch, Some("critical"), Some(Class::Batch));
        check(Class::Critical, Some("urgent"), None);
    }

    #[test]
    fn a_tenants_name_opens_for_another_node_alone() {
        let accounts = accounts();
        let of = |origin, name: Option<&'static str>| {
            let headers: HeaderMap = name.map(|name| (TENANT, HeaderValue::from_static(name))).into_iter().collect();
            let tenant = tenant(origin, &headers, &accounts, 1000);
            tenant.map(|tenant| tenant.name.to_string()).map_err(|refused| refused.error.status().as_u16())
        };
        assert_eq!(of(Origin::Peer, Some("acme")), Ok("acme".to_owned()));
        assert_eq!(of(Origin::Client, Some("acme")), Err(401));
        assert_eq!(of(Origin::Peer, Some("nobody")), Err(403));
        assert_eq!(of(Origin::Peer, None), Err(403));
    }

    #[track_caller]
    fn check_places(header: &str, expected: Option<&[&str]>) {
        let headers = HeaderMap::from_iter([(DATA_REGION.parse().unwrap(), HeaderValue::from_str(header).unwrap())]);
        let accounts = accounts();
        let tenant = accounts.tenants.values().next().unwrap();
        let constraints = constraints(tenant, &headers).ok();
        assert_eq!(constraints.is_some(), expected.is_some(), "{header:?}");
        for (constraints, expected) in constraints.iter().zip(expected) {
            for place in ["EU", "US", "CN"] {
                let allowed = constraints.allows_jurisdiction(&place.parse().unwrap());
                assert_eq!(allowed, expected.contains(&place), "{header:?} {place}");
            }
        }
    }

    #[test]
    fn the_header_is_a_list_and_nonsense_is_refused() {
        check_places("EU", Some(&["EU"]));
        check_places("eu , US", Some(&["EU", "US"]));
        check_places("", None);
        check_places("EU,", None);
        check_places("everywhere on earth", None);
    }
}
