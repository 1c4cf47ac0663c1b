//! `/-/enable/TOKEN`: an address that was disabled by bounces gets its copies again. Looking changes nothing, as scanners open
//! links; the button does, without password: the token came to the address by mail.

use askama::Template;
use axum::http::{HeaderValue, header};

use super::page::{Answer, Frame, Problem, html};
use super::routes::{App, Wish};
use crate::list::score::State;

#[derive(Template)]
#[template(path = "enable.html")]
struct EnablePage {
    frame: Frame,
    address: String,
    /// Whether there is a button, or it was pressed.
    disabled: bool,
}

/// `GET` and `POST /-/enable/TOKEN`
pub async fn show(app: &App, token: &str, wish: &Wish) -> Answer {
    let found = app.ctx.find_disabled(token).await?;
    let disabled = found.filter(|row| row.standing.state == State::Disabled);
    let Some(row) = disabled else {
        let text = "This link does nothing any more: the address gets its copies, or was taken off the lists, or a newer mail came with a newer link.";
        return Err(Problem::Spent(
            "Nothing to do",
            text.to_owned(),
            vec![("/me/".to_owned(), "Your page".to_owned())],
        ));
    };
    if wish.post {
        let now = crate::store::now();
        app.ctx.enable_address(&row.address, now).await?;
    }
    let mut page = html(&EnablePage {
        frame: wish.frame(app, None, ""),
        address: row.address,
        disabled: !wish.post,
    });
    // It shows an address: no cache keeps it, and no search engine.
    let fields = [
        (header::CACHE_CONTROL, "no-store"),
        (header::HeaderName::from_static("x-robots-tag"), "noindex"),
    ];
    for (name, value) in fields {
        page.headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    Ok(page)
}
