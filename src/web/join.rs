//! `/L/join/`, `/-/confirm/TOKEN`, `/u/TOKEN`: joining, confirming and leaving, without an account and without a cookie.
//!
//! Looking at any of them changes nothing: programs that look for bad links open them all. Nothing here says who is a member.

use askama::Template;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::page::{Answer, Frame, Problem, html};
use super::routes::{App, Wish};
use crate::list::command::Wish as Asked;
use crate::list::notice;
use crate::pipeline;
use crate::store::{Acted, ListRow, Owed};
use crate::types::{Address, RealmId};

#[derive(Template)]
#[template(path = "join.html")]
struct JoinPage {
    frame: Frame,
    list: String,
    address: String,
    subscribe: String,
    value: String,
    problem: String,
    form: String,
}

#[derive(Template)]
#[template(path = "confirm.html")]
struct ConfirmPage {
    frame: Frame,
    heading: String,
    text: String,
    action: String,
    button: &'static str,
}

#[derive(Template)]
#[template(path = "message.html")]
struct SaidPage {
    frame: Frame,
    heading: String,
    text: String,
    ways: Vec<(String, String)>,
}

/// `GET` and `POST /L/join/` of a public list.
pub async fn join(app: &App, list: &ListRow, wish: &Wish) -> Answer {
    if !wish.post {
        return Ok(form(app, list, wish, "", ""));
    }
    let now = crate::store::now();
    let (given, token) = (wish.field("address"), wish.field("form"));
    let given = given.trim();
    if !app.ctx.is_form(list, wish.from, &token, now) {
        let text = "The form lay open for too long. Press the button again.";
        return Ok(form(app, list, wish, given, text));
    }
    let read = |text: &str| text.parse::<Address>().ok().filter(notice::is_plain);
    let other = wish.field("other");
    let (Some(address), Some(other)) = (
        read(given),
        match other.trim() {
            "" => Some(None),
            text => read(text).map(Some),
        },
    ) else {
        let text =
            "This is no e-mail address to which a mail can be sent, such as ana@example.org.";
        return Ok(form(app, list, wish, given, text));
    };
    if other
        .as_ref()
        .is_some_and(|other| other.key() == address.key())
    {
        let text = "Both are the same address: there is nothing to link.";
        return Ok(form(app, list, wish, given, text));
    }
    for one in [Some(&address), other.as_ref()].into_iter().flatten() {
        if app.ctx.takes_no_mail(one).await {
            let text = format!(
                "{} says that it takes no mail (null MX): no copy would arrive there.",
                one.domain()
            );
            return Ok(form(app, list, wish, given, &text));
        }
    }
    let owed = match &other {
        None => app.ctx.ask_to_join(list, &address, wish.from, now).await,
        Some(other) => {
            let both = [&address, other];
            app.ctx.ask_to_link(list, both, wish.from, now).await
        }
    };
    if owed.map_err(trouble)? == Owed::EnoughFromSource {
        let text = "Your network asked for too many mails within the last hour. Try again in an hour, or write to the address below.";
        let mut response = form(app, list, wish, given, text);
        *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
        let hour = HeaderValue::from_static("3600");
        response.headers_mut().insert(header::RETRY_AFTER, hour);
        return Ok(response);
    }
    if let Some(other) = other {
        let text = format!(
            "A mail to {address} and one to {other} are on their way. Open the links in both within three days, and the addresses \
             are one person here. An address is sent one such mail a day at most for each list, and three in all."
        );
        let frame = wish.frame(app, Some(&list.name), "join");
        return Ok(said(
            frame,
            "Look into your mail".to_owned(),
            text,
            ways(list),
        ));
    }
    let text = format!(
        "A mail to {address} is on its way. Open the link in it within three days, and you are a member. \
         If none comes: an address is sent one such mail a day at most for each list, and three in all."
    );
    let ways = vec![(
        format!("/{}/", list.name),
        format!("Threads of {}", list.name),
    )];
    let frame = wish.frame(app, Some(&list.name), "join");
    Ok(said(frame, "Look into your mail".to_owned(), text, ways))
}

fn form(app: &App, list: &ListRow, wish: &Wish, value: &str, problem: &str) -> Response {
    let (local, domain) = list.address.split_once('@').unwrap_or((&list.address, ""));
    private(html(&JoinPage {
        frame: wish.frame(app, Some(&list.name), "join"),
        list: list.name.clone(),
        address: list.address.clone(),
        subscribe: format!("{local}+subscribe@{domain}"),
        value: value.chars().take(254).collect(),
        problem: problem.to_owned(),
        form: app.ctx.render_form(list, wish.from, crate::store::now()),
    }))
}

/// `GET` and `POST /-/confirm/TOKEN`.
pub async fn confirm(app: &App, token: &str, wish: &Wish) -> Answer {
    let now = crate::store::now();
    let pending = app.ctx.find_pending(token, now).await.map_err(trouble)?;
    let Some(pending) = pending else {
        return Err(spent(app, token));
    };
    let frame = frame_of(app, wish, Some(&pending.list));
    if !wish.post && !pending.done {
        let list = &pending.list.name;
        return Ok(private(html(&ConfirmPage {
            frame,
            heading: format!("Confirm for {list}"),
            text: format!("{} is to {}.", pending.address, pending.what),
            action: format!("/-/confirm/{token}"),
            button: "Confirm",
        })));
    }
    let ways = ways(&pending.list);
    if pending.done {
        let text = format!("{} has confirmed this already.", pending.address);
        let ways = onward(&pending.list);
        return Ok(said(frame, "Confirmed".to_owned(), text, ways));
    }
    match app.ctx.confirm(token, now).await.map_err(trouble)? {
        pipeline::Answer::Unknown => Err(spent(app, token)),
        pipeline::Answer::Done(acted) => {
            let (heading, text) = words(&acted, &pending.list.address);
            let left = matches!(
                acted,
                Acted::Holds {
                    wish: Asked::Unsubscribe,
                    ..
                }
            );
            let ways = if left { ways } else { onward(&pending.list) };
            Ok(said(frame, heading, text, ways))
        }
        pipeline::Answer::Gone => {
            let text = "The mail that this is about is not here any more: nothing was done.";
            Ok(said(
                frame,
                "Nothing to do".to_owned(),
                text.to_owned(),
                ways,
            ))
        }
    }
}

/// What was done, as heading and text.
fn words(acted: &Acted, list: &str) -> (String, String) {
    let (heading, text) = match acted {
        Acted::Holds { wish, address, .. } => match wish {
            Asked::Unsubscribe => (
                "You left",
                format!("{address} gets no more copies of {list}."),
            ),
            Asked::Nomail => (
                "Paused",
                format!("{address} stays a member of {list} and gets no copies for now."),
            ),
            Asked::Subscribe => (
                "Welcome",
                format!("{address} is a member of {list} and gets copies."),
            ),
            Asked::Spare(_) => (
                "Saved",
                format!("{address} gets the copies of {list} that were asked for."),
            ),
            Asked::Mail | Asked::Link | Asked::Steer => (
                "Copies again",
                format!("{address} gets copies of {list} again."),
            ),
        },
        Acted::Linked { .. } => (
            "Linked",
            "Both addresses have confirmed: they are one person here now.".to_owned(),
        ),
        Acted::Meant { address } => (
            "Confirmed",
            format!(
                "A mail to {address} says what was done, if that is for you to know and a day's limits allow it."
            ),
        ),
        Acted::Before => (
            "Confirmed",
            "This was confirmed already; nothing was done now.".to_owned(),
        ),
        Acted::Waits => (
            "One more",
            "The other address has to confirm as well, by the link in the mail that it got."
                .to_owned(),
        ),
        Acted::Used { address } => (
            "Confirmed",
            format!("{address} has confirmed this already."),
        ),
        _ => (
            "Nothing to do",
            format!("The address is no member of {list}."),
        ),
    };
    (heading.to_owned(), text)
}

/// `GET` and `POST /u/TOKEN` (RFC 8058): a mail program posts, a person presses the button; 200 whatever the state is.
pub async fn leave(app: &App, token: &str, wish: &Wish) -> Answer {
    let found = app.ctx.find_subscription(token).await.map_err(trouble)?;
    let Some(subscription) = found else {
        return Err(broken());
    };
    let list = subscription.as_ref().map(|(list, _)| list);
    let frame = frame_of(app, wish, list);
    let ways = list.map_or_else(Vec::new, ways);
    if let Some((list, address)) = &subscription
        && !wish.post
    {
        return Ok(private(html(&ConfirmPage {
            frame,
            heading: format!("Leave {}", list.name),
            text: format!("{address} gets a copy of every mail to {}.", list.address),
            action: format!("/u/{token}"),
            button: "Leave the list",
        })));
    }
    if wish.post && !is_one_click(&wish.body) {
        let text = "This asks for something else than to leave: nothing was done.";
        return Err(Problem::Bad(text.to_owned()));
    }
    let heading = "You are not subscribed".to_owned();
    let text = match &subscription {
        None => "This subscription has ended; no more copies are sent by it.".to_owned(),
        Some((list, address)) => {
            let now = crate::store::now();
            app.ctx.leave(token, now).await.map_err(trouble)?;
            format!("{address} left {} and gets no more copies.", list.address)
        }
    };
    Ok(said(frame, heading, text, ways))
}

/// Whether a body says `List-Unsubscribe=One-Click`, as form data of either kind (RFC 8058 section 3.2). The token is what gives the
/// right; this tells the wish from a request that went astray.
fn is_one_click(body: &[u8]) -> bool {
    let has = |word: &str| memchr::memmem::find(body, word.as_bytes()).is_some();
    has("List-Unsubscribe") && has("One-Click")
}

/// Navigation only of lists that everybody may see.
fn frame_of(app: &App, wish: &Wish, list: Option<&ListRow>) -> Frame {
    let public = list.filter(|l| l.realm == RealmId::PUBLIC);
    wish.frame(app, public.map(|l| l.name.as_str()), "")
}

/// Where somebody goes who is a member.
fn onward(list: &ListRow) -> Vec<(String, String)> {
    let mut ways = ways(list);
    if let Some(join) = ways.last_mut() {
        *join = (
            format!("/{}/_/text/help/", list.name),
            "How to send a patch".to_owned(),
        );
    }
    ways
}

fn ways(list: &ListRow) -> Vec<(String, String)> {
    match list.realm {
        RealmId::PUBLIC => vec![
            (
                format!("/{}/", list.name),
                format!("Threads of {}", list.name),
            ),
            (
                format!("/{}/join/", list.name),
                format!("Join {}", list.name),
            ),
        ],
        _ => Vec::new(),
    }
}

/// A link to confirm that holds no more, or never did.
fn spent(app: &App, token: &str) -> Problem {
    if !app.ctx.is_confirmation(token) {
        return broken();
    }
    let text = "A link to confirm holds for three days. Nothing has happened. Ask again as you did before: by the form of the list, by a mail \
         to its +subscribe address, or on your page.";
    Problem::Spent("This link is too old", text.to_owned(), Vec::new())
}

/// A link out of a mail that was not made here, letter by letter.
pub fn broken() -> Problem {
    let text = "A letter of it is wrong, or its end is missing. If the mail shows the link on two lines, put both together; or open it from the \
         mail once more. Nothing has happened.";
    Problem::Spent("This link is not whole", text.to_owned(), Vec::new())
}

fn said(frame: Frame, heading: String, text: String, ways: Vec<(String, String)>) -> Response {
    private(html(&SaidPage {
        frame,
        heading,
        text,
        ways,
    }))
}

/// A page for one reader: kept nowhere, found by no search engine, and its address goes to nobody.
fn private(page: Response) -> Response {
    let mut page = page.into_response();
    let fields = [
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::HeaderName::from_static("x-robots-tag"), "noindex"),
    ];
    for (name, value) in fields {
        page.headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    page
}

fn trouble(error: pipeline::PipelineError) -> Problem {
    match error {
        pipeline::PipelineError::Store(error) => Problem::Store(error),
        error => Problem::Store(crate::store::StoreError::Unusable(error.to_string())),
    }
}

/// The token that is the rest of a path; `None` for what cannot be one.
pub fn token_of<'a>(path: &'a str, before: &str) -> Option<&'a str> {
    let token = path.strip_prefix(before)?;
    let plain = token.bytes().all(|b| b.is_ascii_alphanumeric());
    (plain && (16..=64).contains(&token.len())).then_some(token)
}
