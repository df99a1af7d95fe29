//! Who asks: a token as the password of Basic, or as a Bearer (RFC 7617, RFC 6750).

use std::sync::Arc;

use base64ct::{Base64, Encoding};
use hyper::header::{AUTHORIZATION, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use hyper::{Response, StatusCode};

use super::body::{self, Reply};
use crate::serve::agents::{Agents, Caller};

/// What is asked for.
const REALM: &str = "Basic realm=\"git-gate: the agent's token as password\"";

/// Who asks, as far as it has said.
#[derive(Debug)]
pub enum Login {
    /// Somebody that may do something.
    Known {
        /// Who it is.
        caller: Arc<Caller>,
        /// Whether it gave its token: else it may do more with one.
        has_token: bool,
    },
    /// Nobody without a token.
    None,
    /// A token that is no agent's, or no token.
    Wrong,
}

impl Login {
    /// Reads it from the `headers` of a request.
    pub fn of(headers: &HeaderMap, agents: &Agents) -> Self {
        let anonymous = agents.without_token();
        let given = match headers.get(AUTHORIZATION) {
            // Nobody is asked for a token: whatever a client has is for somebody else.
            Some(value) if agents.are_told_apart() => value,
            _ => {
                let known = anonymous.map(|caller| Self::Known {
                    caller,
                    has_token: !agents.are_told_apart(),
                });
                return known.unwrap_or(Self::None);
            }
        };
        let caller = token(given).and_then(|token| agents.by_token(&token));
        caller.map_or(Self::Wrong, |caller| Self::Known {
            caller,
            has_token: true,
        })
    }
}

/// The token in the value of the header `Authorization`.
fn token(value: &HeaderValue) -> Option<Vec<u8>> {
    let value = value.to_str().ok()?;
    let (scheme, rest) = value.split_once(' ')?;
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.as_bytes().to_vec());
    }
    let mut pair = Base64::decode_vec(rest).ok()?;
    let colon = pair.iter().position(|&byte| byte == b':')?;
    let is_basic = scheme.eq_ignore_ascii_case("basic");
    is_basic.then(|| pair.split_off(colon + 1))
}

/// The answer to a request that is not let in. With 401 git gives its token, and prints `reason` where it
/// has given one already.
pub fn refuse(status: StatusCode, reason: &str) -> Response<Reply> {
    let mut answer = body::say(status, reason);
    if status == StatusCode::UNAUTHORIZED {
        let headers = answer.headers_mut();
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(REALM));
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_from_both_schemes_and_from_nothing_else() {
        let of = |value: &str| token(&HeaderValue::from_str(value).unwrap());
        let basic = Base64::encode_string(b"any:a:b");
        assert_eq!(of(&format!("basic {basic}")).unwrap(), b"a:b");
        assert_eq!(of("Bearer word").unwrap(), b"word");
        for other in ["word", "Basic ???", "Basic YWJj", "Digest YTpi", ""] {
            assert_eq!(of(other), None, "{other}");
        }
    }
}
