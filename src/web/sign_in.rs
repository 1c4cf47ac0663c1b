//! `/sign-in`: by mail, without a password. Looking at any of it changes nothing: programs that look for bad links open them all.

use askama::Template;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::page::{Answer, Frame, Problem, html};
use super::routes::{App, Wish};
use super::session::{ASKING, BACK, MARK, SESSION, check_origin, find, local, set_cookie};
use crate::list::notice;
use crate::pipeline::SignedIn;
use crate::store::{Owed, SignInRow};
use crate::types::Address;

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignInPage {
    frame: Frame,
    /// A mail may be on its way, and its code is asked for.
    asked: bool,
    address: String,
    problem: String,
    form: String,
    to: String,
}

#[derive(Template)]
#[template(path = "sign_in_link.html")]
struct LinkPage {
    frame: Frame,
    address: String,
    other: String,
    action: String,
}

#[derive(Template)]
#[template(path = "message.html")]
struct LinkedPage {
    frame: Frame,
    heading: String,
    text: String,
    ways: Vec<(String, String)>,
}

/// `/sign-in` and what is below it.
pub async fn serve(app: &App, rest: &str, wish: &Wish) -> Answer {
    if wish.post {
        check_origin(app, wish)?;
    }
    match (rest, wish.post) {
        // Mails lead to pages by way of this one: of a list that is not public they are there only for who is signed in.
        ("", false) if !wish.get("to").is_empty() && find(app, wish).await?.is_some() => {
            let to = local(wish.get("to")).to_owned();
            Err(Problem::Moved(StatusCode::SEE_OTHER, to))
        }
        ("", false) => Ok(form(app, wish, local(wish.get("to")), "", "")),
        ("", true) => ask(app, wish).await,
        ("code", true) => code(app, wish).await,
        ("code", false) => Err(Problem::Moved(StatusCode::SEE_OTHER, "/sign-in".to_owned())),
        (link, _) => follow(app, link, wish).await,
    }
}

fn form(app: &App, wish: &Wish, to: &str, value: &str, problem: &str) -> Response {
    html(&SignInPage {
        frame: wish.frame(app, None, ""),
        asked: false,
        address: value.chars().take(254).collect(),
        problem: problem.to_owned(),
        form: app.ctx.render_site_form(wish.from, crate::store::now()),
        to: to.to_owned(),
    })
}

fn code_form(app: &App, wish: &Wish, problem: &str) -> Response {
    html(&SignInPage {
        frame: wish.frame(app, None, ""),
        asked: true,
        address: wish.field("address").trim().chars().take(254).collect(),
        problem: problem.to_owned(),
        form: String::new(),
        to: local(&wish.field("to")).to_owned(),
    })
}

async fn ask(app: &App, wish: &Wish) -> Answer {
    let now = crate::store::now();
    let (given, to) = (wish.field("address"), wish.field("to"));
    let again = |text: &str| form(app, wish, local(&to), given.trim(), text);
    if !app.ctx.is_site_form(wish.from, &wish.field("form"), now) {
        return Ok(again(
            "The form lay open for too long. Press the button again.",
        ));
    }
    let address = given.trim().parse::<Address>().ok();
    let Some(address) = address.filter(notice::is_plain) else {
        return Ok(again(
            "This is no e-mail address to which a mail can be sent, such as ana@example.org.",
        ));
    };
    let mark = wish.cookie(app, MARK);
    let asked = app
        .ctx
        .ask_to_sign_in(&address, mark.as_deref(), wish.from, now);
    let (owed, browser) = asked.await?;
    if owed == Owed::EnoughFromSource {
        let mut response = again(
            "Your network asked for too many mails within the last hour. Try again in an hour.",
        );
        *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
        let hour = HeaderValue::from_static("3600");
        response.headers_mut().insert(header::RETRY_AFTER, hour);
        return Ok(response);
    }
    let mut page = code_form(app, wish, "");
    set_cookie(app, &mut page, ASKING, &browser);
    // The link in the mail does not say it: whoever asks would write into it.
    set_cookie(app, &mut page, BACK, local(&to));
    Ok(page)
}

async fn code(app: &App, wish: &Wish) -> Answer {
    let now = crate::store::now();
    let old = wish.cookie(app, SESSION);
    let signed = match wish.cookie(app, ASKING) {
        Some(browser) => {
            let code = wish.field("code");
            let ctx = &app.ctx;
            ctx.sign_in_by_code(&browser, &code, old.as_deref(), now)
                .await?
        }
        None => None,
    };
    match signed {
        Some(signed) => Ok(enter(app, &signed, local(&wish.field("to")))),
        None => {
            let text = "This code is not right, or not any more: it holds for 15 minutes, in the browser that asked for it, and \
                 for few tries. The link in the mail may hold still.";
            Ok(code_form(app, wish, text))
        }
    }
}

/// The link in a mail: a page with a button, and the button.
async fn follow(app: &App, link: &str, wish: &Wish) -> Answer {
    let now = crate::store::now();
    let plain = link.len() == 32 && link.bytes().all(|b| b.is_ascii_alphanumeric());
    let link = link.to_ascii_lowercase();
    let found = match plain {
        true => app.ctx.find_sign_in(&link, now).await?,
        false => None,
    };
    let Some(SignInRow { address, other }) = found else {
        return Err(gone());
    };
    if !wish.post {
        return Ok(html(&LinkPage {
            frame: wish.frame(app, None, ""),
            address,
            other,
            action: format!("/sign-in/{link}"),
        }));
    }
    if !other.is_empty() {
        let linked = app.ctx.link_by_mail(&link, now).await?;
        let SignInRow { address, other } = linked.ok_or_else(gone)?;
        return Ok(html(&LinkedPage {
            frame: wish.frame(app, None, ""),
            heading: "Linked".to_owned(),
            text: format!("{address} and {other} are one person here now."),
            ways: vec![("/me/".to_owned(), "Your page".to_owned())],
        }));
    }
    let old = wish.cookie(app, SESSION);
    let signed = app.ctx.sign_in_by_link(&link, old.as_deref(), now).await?;
    let to = wish.cookie(app, BACK).unwrap_or_default();
    Ok(enter(app, &signed.ok_or_else(gone)?, local(&to)))
}

/// The browser is signed in from its next request on.
fn enter(app: &App, signed: &SignedIn, to: &str) -> Response {
    let mut response = (StatusCode::SEE_OTHER, [(header::LOCATION, to)]).into_response();
    set_cookie(app, &mut response, SESSION, &signed.cookie);
    set_cookie(app, &mut response, ASKING, "");
    set_cookie(app, &mut response, BACK, "");
    set_cookie(app, &mut response, MARK, &signed.mark);
    response
}

fn gone() -> Problem {
    let text =
        "This link is not valid, or not any more: a link to sign in works once, within 15 minutes.";
    let ways = vec![("/sign-in".to_owned(), "Ask for a new one".to_owned())];
    Problem::Missing(text.to_owned(), ways)
}
