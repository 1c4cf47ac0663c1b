//! `/me/copy/L/NUMBER/`: one mail, sent to who is signed in, to be answered from one's own mailbox.
//!
//! Pages of mails are the same for everybody and link to this one, which looks who it is.

use askama::Template;
use axum::http::StatusCode;

use super::page::{Answer, Frame, Problem, html, mail_href};
use super::routes::{App, Wish};
use crate::pipeline::{Copied, Viewer};
use crate::store::Eyes;
use crate::view::text::visible;

#[derive(Template)]
#[template(path = "copy.html")]
struct CopyPage {
    frame: Frame,
    address: String,
    guard: String,
    subject: String,
    /// The mail's page.
    href: String,
    action: String,
    /// What became of the wish; empty: it was not made yet.
    done: &'static str,
}

/// `GET` and `POST`; `rest` is what stands behind `/me/copy/`.
pub async fn serve(app: &App, viewer: &Viewer, rest: &str, wish: &Wish) -> Answer {
    let missing = || {
        let text = "There is no such mail here, or not any more.";
        Problem::Missing(text.to_owned(), vec![])
    };
    let place = rest.strip_suffix('/').and_then(|r| r.split_once('/'));
    let place = place.and_then(|(list, number)| Some((list, number.parse::<i64>().ok()?)));
    let (list, number) = place.ok_or_else(missing)?;
    let list = app.store.find_shown(list, Eyes::Anybody).await?;
    let list = list.ok_or_else(missing)?;
    let mail = app.store.find_mail_by_number(list.id, number).await?;
    let mail = mail.filter(|m| !m.taken_back).ok_or_else(missing)?;
    let action = format!("/me/copy/{}/{number}/", list.name);
    if wish.post {
        let now = crate::store::now();
        let word = match app.ctx.send_copy(viewer, &list, number, now).await? {
            Copied::Yes => "sent",
            Copied::Enough => "enough",
            Copied::Nothing => "nothing",
        };
        let to = format!("{action}?done={word}");
        return Err(Problem::Moved(StatusCode::SEE_OTHER, to));
    }
    Ok(html(&CopyPage {
        frame: wish.frame(app, Some(&list.name), "threads"),
        address: viewer.address.clone(),
        guard: viewer.guard.clone(),
        subject: visible(&mail.subject),
        href: mail_href(&list.name, &mail.message_id),
        action,
        done: match wish.get("done") {
            "sent" => "It is on its way.",
            "enough" => {
                "You had as many mails sent to you as go within an hour or a day. Try again later."
            }
            "nothing" => "Nothing was sent: copies of this mail do not go out.",
            _ => "",
        },
    }))
}
