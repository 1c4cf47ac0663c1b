//! Who looks at a page, by the cookie of a browser that is signed in; and what a form must show before anything is done for it.
//!
//! Pages of public lists never ask: they are the same for everybody, and cached. `/` asks, as it lists what who is signed in may read,
//! and so does what finds no public list of a name, whether there is such a list or not. Pages that find nothing name the way to sign in.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;

use super::page::Problem;
use super::routes::{App, Wish, parse_pairs};
use crate::list::sign_in::{HOLDS_SECS, LIFE_SECS, hash};
use crate::pipeline::Viewer;
use crate::store::{Eyes, Shown};
use crate::view::url;

/// Fields of a form that are read: a page of held mail can tick fewer.
const FIELDS: usize = 1_000;

/// The cookie of a browser that is signed in.
pub const SESSION: &str = "session";
/// The cookie of a browser that asked for a code.
pub const ASKING: &str = "asking";

/// The cookie that holds where a browser wanted to go when it asked.
pub const BACK: &str = "back";
/// The cookie of a browser that was signed in before.
pub const MARK: &str = "mark";
/// A browser keeps it so long.
const MARK_SECS: i64 = 400 * 86_400;

/// Whether a page is for one reader: kept by no cache, found by no search engine, and open to forms.
pub fn is_personal(path: &str) -> bool {
    let mut words = path.split('/').skip(1);
    let both = (words.next(), words.next());
    matches!(
        both,
        (Some("sign-in" | "me"), _) | (Some("-"), Some("queue")) | (_, Some("settings"))
    )
}

/// A page for one reader. Its address stays within the site: with no referrer at all, browsers would not say where a form comes from.
pub fn private(mut page: Response) -> Response {
    let fields = [
        (header::CACHE_CONTROL, "no-store, private"),
        (header::REFERRER_POLICY, "same-origin"),
        (header::HeaderName::from_static("x-robots-tag"), "noindex"),
    ];
    for (name, value) in fields {
        page.headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    page
}

/// Who looks, if the browser is signed in.
pub async fn find(app: &App, wish: &Wish) -> Result<Option<Viewer>, Problem> {
    let Some(cookie) = wish.cookie(app, SESSION) else {
        return Ok(None);
    };
    let now = crate::store::now();
    match app.store.find_session(&hash(&cookie), now).await? {
        Some(row) => Ok(Some(app.ctx.greet(row, now).await?)),
        None => Ok(None),
    }
}

/// With whose eyes lists are looked at.
pub fn eyes<'a>(app: &App, viewer: &'a Viewer) -> Eyes<'a> {
    Eyes::Person {
        address: &viewer.address,
        tls: is_secure(app),
    }
}

/// The list of that name, if it may be shown to who asks.
pub async fn find_shown(app: &App, name: &str, wish: &Wish) -> Result<Option<Shown>, Problem> {
    if let Some(list) = app.store.find_shown(name, Eyes::Anybody).await? {
        return Ok(Some(list));
    }
    match find(app, wish).await? {
        Some(viewer) => Ok(app.store.find_shown(name, eyes(app, &viewer)).await?),
        None => Ok(None),
    }
}

/// Who looks; whoever is not signed in is led to where that is done, and back. What is posted must come from our own pages.
pub async fn require(app: &App, wish: &Wish, path: &str) -> Result<Viewer, Problem> {
    let Some(viewer) = find(app, wish).await? else {
        let to = format!("/sign-in?to={}", url::query(path));
        return Err(Problem::Moved(StatusCode::SEE_OTHER, to));
    };
    check_form(app, wish, &viewer)?;
    Ok(viewer)
}

/// Refuses what is posted and does not come from a form that was made for this browser.
pub fn check_form(app: &App, wish: &Wish, viewer: &Viewer) -> Result<(), Problem> {
    if wish.post {
        check_origin(app, wish)?;
        if !app.ctx.is_guard(viewer, &wish.field("guard")) {
            return Err(foreign());
        }
    }
    Ok(())
}

/// Refuses what a browser says comes from another site. Clients that say nothing are none of those that carry cookies along.
pub fn check_origin(app: &App, wish: &Wish) -> Result<(), Problem> {
    let text = |name: &str| wish.headers.get(name).map(|v| v.to_str().unwrap_or("?"));
    let same = |origin: &str| {
        let host = origin.split_once("://").map(|(_, host)| host);
        origin == &*app.base_url || (host.is_some() && host == text("host"))
    };
    let ours = text("sec-fetch-site").is_none_or(|from| from == "same-origin");
    match ours && text("origin").is_none_or(same) {
        true => Ok(()),
        false => Err(foreign()),
    }
}

fn foreign() -> Problem {
    let text = "This form was not made for you, or for an earlier visit: nothing was done. Open the page again and press the button there.";
    Problem::Refused(text.to_owned())
}

/// A cookie for the browser; it lasts as long as its session may, or as a code holds.
pub fn set_cookie(app: &App, response: &mut Response, name: &str, value: &str) {
    let life = match (value, name) {
        ("", _) => 0,
        (_, SESSION) => LIFE_SECS,
        (_, MARK) => MARK_SECS,
        _ => HOLDS_SECS,
    };
    // Links in mails lead to pages for which one is signed in; forms are guarded by more than this.
    let same = if name == SESSION { "Lax" } else { "Strict" };
    let secure = if is_secure(app) { "; Secure" } else { "" };
    let cookie = format!(
        "{}={value}; Path=/; Max-Age={life}; HttpOnly; SameSite={same}{secure}",
        full_name(app, name)
    );
    let value = HeaderValue::from_str(&cookie).expect("names and secrets are ASCII");
    response.headers_mut().append(header::SET_COOKIE, value);
}

/// What is shown goes over TLS.
pub fn is_secure(app: &App) -> bool {
    app.base_url.starts_with("https://")
}

/// With the prefix, neither a page without TLS nor one of a neighbouring host can set it.
fn full_name(app: &App, name: &str) -> String {
    match is_secure(app) {
        true => format!("__Host-{name}"),
        false => name.to_owned(),
    }
}

/// Where to go after signing in: a page of ours, whatever was asked. Only a path without a query; what it is made of needs no
/// quotes in a cookie, and no browser takes it for the name of a host.
pub fn local(path: &str) -> &str {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/-_.~%@+=:!$'()*&".contains(&b);
    let ours = path.starts_with('/') && !path.contains("//");
    match ours && path.bytes().all(plain) && path.len() < 500 {
        true => path,
        false => "/me/",
    }
}

/// What a page that finds nothing says to everybody, whatever is or is not there.
pub fn sign_in_way(app: &App, wish: &Wish) -> Option<(String, String)> {
    let path = wish.path.as_str();
    // What leads to these is a secret, or not there for who is signed in either.
    let secret = ["/sign-in", "/u/", "/-/", "/me"];
    if local(path) != path || secret.iter().any(|start| path.starts_with(start)) {
        return None;
    }
    Some(match wish.cookie(app, SESSION) {
        Some(_) => ("/me/".to_owned(), "Your lists".to_owned()),
        None => (
            format!("/sign-in?to={}", url::query(path)),
            "Sign in: members see lists that others do not".to_owned(),
        ),
    })
}

impl Wish {
    /// A cookie's value.
    pub fn cookie(&self, app: &App, name: &str) -> Option<String> {
        let name = full_name(app, name);
        let lines = self.headers.get_all(header::COOKIE).into_iter();
        let text = lines.filter_map(|v| v.to_str().ok());
        let mut pairs = text
            .flat_map(|v| v.split(';'))
            .filter_map(|p| p.trim().split_once('='));
        let found = pairs.find(|(n, _)| *n == name);
        found
            .map(|(_, value)| value.to_owned())
            .filter(|v| !v.is_empty())
    }

    /// A field of a form body, decoded; empty if it is not there.
    pub fn field(&self, name: &str) -> String {
        self.fields(name).into_iter().next().unwrap_or_default()
    }

    /// All values of a field of a form body.
    pub fn fields(&self, name: &str) -> Vec<String> {
        let body = std::str::from_utf8(&self.body).unwrap_or_default();
        let fields = parse_pairs(body, FIELDS).into_iter();
        fields.filter(|(n, _)| n == name).map(|(_, v)| v).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_signing_in_one_stays_here() {
        let check = |given: &str, expected: &str| assert_eq!(local(given), expected, "{given}");
        check("/me/", "/me/");
        check("/dev/settings/held/12/", "/dev/settings/held/12/");
        check("/-/queue", "/-/queue");
        check("/dev/", "/dev/");
        check("/dev/a%2Fb+c=d@x.org/T/", "/dev/a%2Fb+c=d@x.org/T/");
        check("/dev/patches/12/v1..v2", "/dev/patches/12/v1..v2");
        for elsewhere in [
            "",
            "me/",
            "//evil.example/settings",
            "/\\evil.example/settings",
            "https://evil.example/me/",
            "/me/?x=<",
            "/me/\r\nSet-Cookie:x",
            "///evil.example/",
            "/dev//evil.example/",
            "/\t/evil.example/",
            "/dev/;Domain=evil.example",
            "/dev/#x",
            "javascript:alert(1)",
            "/d\u{e9}v/",
        ] {
            check(elsewhere, "/me/");
        }
    }

    #[test]
    fn pages_for_one_reader_are_known_by_their_path() {
        for path in [
            "/sign-in",
            "/sign-in/code",
            "/me/",
            "/me/export",
            "/-/queue",
            "/dev/settings/",
        ] {
            assert!(is_personal(path), "{path}");
        }
        for path in [
            "/",
            "/dev/",
            "/-/style",
            "/dev/join/",
            "/settings/",
            "/dev/a@b/settings",
        ] {
            assert!(!is_personal(path), "{path}");
        }
    }
}
