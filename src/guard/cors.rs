//! Which pages of other origins may ask (Fetch standard, section "CORS protocol").

mod origins;

use std::fmt::Display;

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};

use self::origins::Origins;
use crate::config::model::{CorsConfig, CorsHeaders};
use crate::exchange::{Exchange, REQUEST_ID};
use crate::refusal::Refusal;
use crate::wire::Body;
use crate::wire::list::members;

/// `cors` of a route.
#[derive(Debug)]
pub struct Cors {
    origins: Origins,
    /// Empty: whatever finds the route.
    methods: Box<[Method]>,
    methods_value: Option<HeaderValue>,
    headers: CorsHeaders,
    expose: Option<HeaderValue>,
    credentials: bool,
    max_age: Option<HeaderValue>,
}

/// Of an answer to a preflight.
const PREFLIGHT_VARY: HeaderValue = HeaderValue::from_static(
    "Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
);
/// Of an answer that says which origin may read it.
const ORIGIN_VARY: HeaderValue = HeaderValue::from_static("Origin");
/// What any page may send, whatever its value does to the need to ask (Fetch, "CORS-safelisted request-header"). A
/// content type is harmless for three values only, and those are not asked about.
const HARMLESS: [&str; 3] = ["accept", "accept-language", "content-language"];
/// Names in one question: no page sends as many, and each is compared with those that are allowed.
const NAMES: usize = 100;

impl Cors {
    /// As checked.
    pub fn new(config: &CorsConfig) -> Self {
        let mut methods = config.methods.clone();
        if methods.contains(&Method::GET) && !methods.contains(&Method::HEAD) {
            methods.push(Method::HEAD);
        }
        Self {
            origins: Origins::new(&config.origins),
            methods_value: joined(&methods),
            methods: methods.into(),
            headers: config.headers.clone(),
            expose: joined(&config.expose),
            credentials: config.credentials,
            max_age: config.max_age.map(|age| HeaderValue::from(age.as_secs())),
        }
    }

    /// Notes what the answer to come shall say, whoever gives it. Refuses nothing: a page that is not let in gets an
    /// answer that its browser keeps from it.
    pub fn note(&self, asked: &Parts, exchange: &mut Exchange) {
        let (any, asks) = (self.origins.any(), exchange.preflight.is_some());
        let marks = &mut exchange.marks;
        if asks || !any {
            marks.push((VARY, if asks { PREFLIGHT_VARY } else { ORIGIN_VARY }));
        }
        let shown = match self.allowed(&asked.headers) {
            // Also to who does not ask: a cache that kept an answer without it would give that one to a page, too (Fetch,
            // "CORS protocol and HTTP caches").
            _ if any => HeaderValue::from_static("*"),
            Some(origin) => origin.clone(),
            None => return,
        };
        marks.push((ACCESS_CONTROL_ALLOW_ORIGIN, shown));
        if self.credentials {
            marks.push((ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true")));
        }
        if let Some(expose) = self.expose.as_ref().filter(|_| !asks) {
            marks.push((ACCESS_CONTROL_EXPOSE_HEADERS, expose.clone()));
        }
    }

    /// The answer to a preflight; none for any other request. 403 for one that asks for what it may not: a browser
    /// takes any status but 2xx for a no (Fetch, "CORS-preflight fetch"), and the operator sees in the log which no.
    pub fn check(
        &self,
        asked: &Parts,
        exchange: &mut Exchange,
    ) -> Result<Option<Response<Body>>, Refusal> {
        let Some(method) = &exchange.preflight else { return Ok(None) };
        let answer = self.answer(&asked.headers, method);
        let mut answer = answer.map_err(|cause| {
            exchange.cause = Some(cause);
            Refusal::Forbidden
        })?;
        answer.headers_mut().insert(REQUEST_ID, exchange.id.clone());
        Ok(Some(answer))
    }

    fn answer(&self, asked: &HeaderMap, method: &Method) -> Result<Response<Body>, String> {
        if self.allowed(asked).is_none() {
            return Err(format!("cors: not from the origin {:?}", first(asked, &ORIGIN)));
        }
        if !self.methods.is_empty() && !self.methods.contains(method) {
            return Err(format!("cors: not the method {method:?}"));
        }
        let mut answer = Response::new(Body::Empty);
        *answer.status_mut() = StatusCode::NO_CONTENT;
        let headers = answer.headers_mut();
        let methods = self.methods_value.clone();
        // A method is a token, and tokens are visible.
        let methods = methods.or_else(|| HeaderValue::try_from(method.as_str()).ok());
        let names = self.names(asked)?;
        for (name, value) in [
            (ACCESS_CONTROL_ALLOW_METHODS, methods),
            (ACCESS_CONTROL_ALLOW_HEADERS, names),
            (ACCESS_CONTROL_MAX_AGE, self.max_age.clone()),
        ] {
            if let Some(value) = value {
                headers.insert(name, value);
            }
        }
        Ok(answer)
    }

    /// The headers that a preflight asks for, all of which are allowed. They are named one by one also where any is,
    /// since a browser takes `*` for neither `Authorization` nor a request with credentials.
    fn names(&self, asked: &HeaderMap) -> Result<Option<HeaderValue>, String> {
        let mut names = Vec::new();
        let values = asked.get_all(ACCESS_CONTROL_REQUEST_HEADERS);
        for token in values.iter().flat_map(members).filter(|token| !token.is_empty()) {
            let name = HeaderName::from_bytes(token).map_err(|_| "cors: not a header's name")?;
            let allowed = match &self.headers {
                CorsHeaders::Any => true,
                CorsHeaders::These(these) => {
                    these.contains(&name) || HARMLESS.contains(&name.as_str())
                }
            };
            if !allowed {
                return Err(format!("cors: not the header {name}"));
            }
            if names.len() == NAMES {
                return Err(format!("cors: more than {NAMES} headers"));
            }
            names.push(name);
        }
        Ok(joined(&names))
    }

    /// The one origin of a request, if its pages may ask.
    fn allowed<'a>(&self, asked: &'a HeaderMap) -> Option<&'a HeaderValue> {
        let mut origins = asked.get_all(ORIGIN).iter();
        let origin = origins.next().filter(|origin| self.origins.allow(origin.as_bytes()))?;
        // Several say nothing about who asks.
        origins.next().is_none().then_some(origin)
    }
}

/// The method that a preflight asks about; none for any other request.
pub fn preflight(asked: &Parts) -> Option<Method> {
    if asked.method != Method::OPTIONS || !asked.headers.contains_key(ORIGIN) {
        return None;
    }
    Method::from_bytes(asked.headers.get(ACCESS_CONTROL_REQUEST_METHOD)?.as_bytes()).ok()
}

/// Takes out what an upstream says about other origins: the route says it.
pub fn unsaid(headers: &mut HeaderMap) {
    const ALL: [HeaderName; 6] = [
        ACCESS_CONTROL_ALLOW_ORIGIN,
        ACCESS_CONTROL_ALLOW_CREDENTIALS,
        ACCESS_CONTROL_ALLOW_HEADERS,
        ACCESS_CONTROL_ALLOW_METHODS,
        ACCESS_CONTROL_EXPOSE_HEADERS,
        ACCESS_CONTROL_MAX_AGE,
    ];
    for name in ALL {
        headers.remove(name);
    }
}

/// Adds to what an answer varies by, which an upstream may have said already (RFC 9110 section 12.5.5).
pub fn vary(headers: &mut HeaderMap, more: HeaderValue) {
    let all = headers.get_all(VARY).iter().flat_map(members).collect::<Vec<_>>();
    let told = |name: &[u8]| all.iter().any(|it| it.eq_ignore_ascii_case(name) || *it == b"*");
    if members(&more).all(told) {
        return;
    }
    let Some(said) = headers.get(VARY).filter(|said| !said.is_empty()) else {
        headers.insert(VARY, more);
        return;
    };
    let joined = [said.as_bytes(), b", ", more.as_bytes()].concat();
    // What is joined of values is a value. The others of that name stay.
    if let (Ok(joined), Some(said)) = (HeaderValue::try_from(joined), headers.get_mut(VARY)) {
        *said = joined;
    }
}

fn joined<T: Display>(all: &[T]) -> Option<HeaderValue> {
    let texts: Vec<String> = all.iter().map(T::to_string).collect();
    HeaderValue::try_from(texts.join(", ")).ok().filter(|_| !all.is_empty())
}

/// For the log, not longer than a line bears.
fn first(headers: &HeaderMap, name: &HeaderName) -> String {
    const LONGEST: usize = 200;
    let value = headers.get(name).map(HeaderValue::as_bytes).unwrap_or_default();
    String::from_utf8_lossy(&value[..value.len().min(LONGEST)]).into_owned()
}

#[cfg(test)]
mod tests;
