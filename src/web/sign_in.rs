//! `/sign-in`: by mail, without a password. Looking at any of it changes nothing: programs that look for bad links open them all.

use askama::Template;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::page::{Answer, Frame, Problem, html};
use super::routes::{App, Wish};
use super::session::{ASKING, BACK, MARK, SESSION, check_origin, find, local, set_cookie};
use crate::list::notice;
use crate::pipeline::SignedIn;
use crate::store::{Eyes, Owed, SignInRow};
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
    /// Where who is not known yet joins: the list whose page led here, or the site's lists.
    join: String,
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
        join: String::new(),
    })
}

async fn code_form(app: &App, wish: &Wish, problem: &str) -> Answer {
    let to = local(&wish.field("to")).to_owned();
    let name = to.split('/').nth(1).unwrap_or_default();
    // Of lists that are not public nobody hears here.
    let lists = app.store.load_shown(Eyes::Anybody).await?;
    let mut known = lists.iter().filter(|(l, _)| !l.is_private());
    let join = match known.any(|(l, _)| l.name == name) {
        true => format!("/{name}/join/"),
        false => "/".to_owned(),
    };
    Ok(html(&SignInPage {
        frame: wish.frame(app, None, ""),
        asked: true,
        address: wish.field("address").trim().chars().take(254).collect(),
        problem: problem.to_owned(),
        form: String::new(),
        to,
        join,
    }))
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
    let (before, mark) = (wish.cookie(app, ASKING), wish.cookie(app, MARK));
    let browser = (before.as_deref(), mark.as_deref());
    let asked = app.ctx.ask_to_sign_in(&address, browser, wish.from, now);
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
    let mut page = code_form(app, wish, "").await?;
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
                 for few tries. If you used neither the code nor the link yet, the link in the mail holds for those 15 minutes; else ask for another mail.";
            code_form(app, wish, text).await
        }
    }
}

/// The link in a mail: a page with a button, and the button.
async fn follow(app: &App, link: &str, wish: &Wish) -> Answer {
    let now = crate::store::now();
    let link = link.to_ascii_lowercase();
    let found = match is_whole(&link) {
        true => app.ctx.find_sign_in(&link, now).await?,
        false => None,
    };
    let Some(SignInRow { address, other }) = found else {
        return Err(gone(app, &link).await);
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
        let Some(SignInRow { address, other }) = linked else {
            return Err(gone(app, &link).await);
        };
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
    match signed {
        Some(signed) => Ok(enter(app, &signed, local(&to))),
        None => Err(gone(app, &link).await),
    }
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

/// Why a link does nothing, and what to do next.
async fn gone(app: &App, link: &str) -> Problem {
    let spent = match is_whole(link) {
        true => match app.ctx.find_spent_link(link).await {
            Ok(spent) => spent,
            Err(error) => return error.into(),
        },
        false => None,
    };
    let (heading, text) = match spent {
        Some((true, false)) => (
            "This link was used",
            "It signed somebody in, or the code in the same mail did: a mail signs in once. If it was not you, sign in and press \"Sign out everywhere\".",
        ),
        Some((true, true)) => (
            "This link was used",
            "If its button was pressed, the two addresses are linked; your page shows them.",
        ),
        Some((false, false)) => (
            "This link is too old",
            "A mail signs in within 15 minutes. Nothing has happened.",
        ),
        Some((false, true)) => (
            "This link is too old",
            "It held for three days. Nothing has happened; from your page the other address can be asked again.",
        ),
        None if is_whole(link) => (
            "This link is not known",
            "No mail of the last day has this link: it is older than that, or a letter of it is wrong. Nothing has happened.",
        ),
        None => (
            "This link is not whole",
            "A link to sign in ends in 32 letters and digits. If the mail shows it on two lines, put both together. Nothing has happened.",
        ),
    };
    let ways = vec![
        ("/sign-in".to_owned(), "Ask for a new mail".to_owned()),
        (
            "/me/".to_owned(),
            "Your page, if you are signed in".to_owned(),
        ),
    ];
    Problem::Spent(heading, text.to_owned(), ways)
}

fn is_whole(link: &str) -> bool {
    link.len() == 32 && link.bytes().all(|b| b.is_ascii_alphanumeric())
}
