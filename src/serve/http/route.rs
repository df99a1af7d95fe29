//! What a request asks for (gitprotocol-http(5)).

use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName};
use hyper::{Method, StatusCode, Uri};
use percent_encoding::percent_decode_str;

use super::super::git_request::{Request, Service};

/// The header in which a client names the versions of the protocol that it can speak.
const GIT_PROTOCOL: HeaderName = HeaderName::from_static("git-protocol");

/// How a request's body is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// Not at all.
    Plain,
    /// By gzip.
    Gzip,
}

/// A step of a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The refs, or what the server can do.
    Advertise,
    /// A request with a body.
    Call(Packing),
}

/// What is asked of which repository.
#[derive(Debug, PartialEq, Eq)]
pub struct Route {
    /// The service and the repository.
    pub request: Request,
    /// The step.
    pub step: Step,
}

/// Why a request is not served: the status, and words for the client.
type Refusal = (StatusCode, &'static str);

const NO_SUCH_PATH: Refusal = (
    StatusCode::NOT_FOUND,
    "only git fetch and git push are served here, at http://GATE/NAME.git",
);

impl Route {
    /// Reads it from the head of `request`.
    pub fn of<B>(request: &hyper::Request<B>) -> Result<Self, Refusal> {
        let (uri, headers) = (request.uri(), request.headers());
        let path = percent_decode_str(uri.path()).decode_utf8();
        let path = path.map_err(|_| NO_SUCH_PATH)?;
        let (repository, step) = split(&path)?;
        let (method, service, step) = match step {
            None => (Method::GET, advertised(uri)?, Step::Advertise),
            Some(service) => (
                Method::POST,
                service,
                Step::Call(packing(headers, service)?),
            ),
        };
        if *request.method() != method {
            let reason = "git asks for info/refs by GET and for the rest by POST";
            return Err((StatusCode::METHOD_NOT_ALLOWED, reason));
        }
        Ok(Self {
            request: Request::new(service, repository, version(headers)),
            step,
        })
    }
}

/// The repository whose rules are asked for, where they are.
pub fn of_policy<B>(request: &hyper::Request<B>) -> Option<Request> {
    let path = percent_decode_str(request.uri().path())
        .decode_utf8()
        .ok()?;
    let repository = path.strip_suffix("/-/policy")?;
    (request.method() == Method::GET).then(|| Request::new(Service::Fetch, repository, 0))
}

/// The repository, and the service where the path names one.
fn split(path: &str) -> Result<(&str, Option<Service>), Refusal> {
    if let Some(repository) = path.strip_suffix("/info/refs") {
        return Ok((repository, None));
    }
    let (repository, last) = path.rsplit_once('/').ok_or(NO_SUCH_PATH)?;
    let service = Service::named(last).ok_or(NO_SUCH_PATH)?;
    Ok((repository, Some(service)))
}

fn advertised(uri: &Uri) -> Result<Service, Refusal> {
    let query = uri.query().unwrap_or_default();
    let named = query
        .split('&')
        .find_map(|field| field.strip_prefix("service="));
    let Some(named) = named else {
        let reason = "this client speaks the dumb protocol, and only the smart one is served here";
        return Err((StatusCode::FORBIDDEN, reason));
    };
    let reason = "only git fetch and git push are served here";
    Service::named(named).ok_or((StatusCode::FORBIDDEN, reason))
}

/// How the body is packed. A browser cannot send the type that is wanted to another site by itself.
fn packing(headers: &HeaderMap, service: Service) -> Result<Packing, Refusal> {
    let value = |name| headers.get(name).map(|value| value.as_bytes());
    let expected = format!("application/x-{}-request", service.command());
    if value(CONTENT_TYPE) != Some(expected.as_bytes()) {
        let reason = "this is not a request of git: its Content-Type is another one";
        return Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, reason));
    }
    match value(CONTENT_ENCODING) {
        None | Some(b"identity") => Ok(Packing::Plain),
        Some(b"gzip" | b"x-gzip") => Ok(Packing::Gzip),
        Some(_) => {
            let reason = "a request may be packed by gzip, in no other way";
            Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, reason))
        }
    }
}

/// The highest version that the client names and git knows.
fn version(headers: &HeaderMap) -> u8 {
    let named = headers.get(GIT_PROTOCOL).map(|value| value.as_bytes());
    let fields = named.unwrap_or_default().split(|&byte| byte == b':');
    let versions = fields.map(|field| match field {
        b"version=1" => 1,
        b"version=2" => 2,
        _ => 0,
    });
    versions.max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(method: &str, uri: &str, headers: &[(&str, &str)]) -> Result<Route, StatusCode> {
        let mut request = hyper::Request::builder().method(method).uri(uri);
        for &(name, value) in headers {
            request = request.header(name, value);
        }
        Route::of(&request.body(()).unwrap()).map_err(|(status, _)| status)
    }

    #[test]
    fn a_request_of_git_is_told_from_all_else() {
        let fetch = route(
            "GET",
            "/app.git/info/refs?service=git-upload-pack",
            &[("Git-Protocol", "x:version=2")],
        );
        let request = Request::new(Service::Fetch, "app", 2);
        let step = Step::Advertise;
        assert_eq!(fetch, Ok(Route { request, step }));
        let kind = ("content-type", "application/x-git-receive-pack-request");
        let push = route(
            "POST",
            "/%61pp/git-receive-pack",
            &[kind, ("content-encoding", "gzip")],
        );
        let request = Request::new(Service::Push, "app", 0);
        let step = Step::Call(Packing::Gzip);
        assert_eq!(push, Ok(Route { request, step }));
        for (method, uri, status) in [
            ("GET", "/app.git/info/refs", 403),
            ("GET", "/app.git/info/refs?service=git-upload-archive", 403),
            ("GET", "/app.git/HEAD", 404),
            ("GET", "/app.git/objects/info/packs", 404),
            ("GET", "/", 404),
            ("GET", "/%ff/info/refs?service=git-upload-pack", 404),
            ("POST", "/app.git/info/refs?service=git-upload-pack", 405),
            ("POST", "/app.git/git-upload-pack", 415),
        ] {
            assert_eq!(route(method, uri, &[]).unwrap_err(), status, "{uri}");
        }
        let packed = route(
            "POST",
            "/app/git-receive-pack",
            &[kind, ("content-encoding", "br")],
        );
        assert_eq!(packed.unwrap_err(), 415);
    }
}
