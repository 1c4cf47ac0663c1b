//! What a handler can end in other than a page, in words for who asked.

use askama::Template;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::page::{Frame, html};
use crate::pipeline::PipelineError;
use crate::store::StoreError;

/// Seconds after which a client may ask again for what could not be done just now.
const AGAIN: &str = "5";

/// What a handler can end in other than a page.
pub enum Problem {
    /// Nothing there; the text says what was looked for, the ways lead on.
    Missing(String, Vec<(String, String)>),
    /// Somewhere else now.
    Moved(StatusCode, String),
    /// Our trouble.
    Store(StoreError),
    /// Their mistake.
    Bad(String),
    /// Not theirs to do.
    Refused(String),
    /// Others ask for as much as can be done at once; the text says of what.
    Busy(String),
    /// One of these on pages of that list: its navigation stays.
    In(String, Box<Problem>),
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        Problem::Store(error)
    }
}

impl From<PipelineError> for Problem {
    fn from(error: PipelineError) -> Self {
        match error {
            PipelineError::Store(error) => Problem::Store(error),
            error => Problem::Store(StoreError::Unusable(error.to_string())),
        }
    }
}

/// What handlers return.
pub type Answer = Result<Response, Problem>;

#[derive(Template)]
#[template(path = "message.html")]
struct MessagePage {
    frame: Frame,
    heading: String,
    text: String,
    ways: Vec<(String, String)>,
}

impl Problem {
    /// The page, the redirect or the error.
    pub fn answer(self, mut frame: Frame) -> Response {
        let (status, heading, text, ways) = match self {
            Problem::In(list, problem) => {
                frame.list = Some(list);
                return problem.answer(frame);
            }
            Problem::Moved(status, to) => {
                return (status, [(header::LOCATION, to)]).into_response();
            }
            Problem::Missing(text, mut ways) => {
                ways.push(("/".to_owned(), "All lists".to_owned()));
                ways.extend(frame.sign_in.take());
                (StatusCode::NOT_FOUND, "Not found", text, ways)
            }
            Problem::Bad(text) => (
                StatusCode::BAD_REQUEST,
                "That does not work",
                text,
                match (&frame.list, frame.q.is_empty()) {
                    (Some(list), false) => vec![(
                        format!("/{list}/_/text/help/"),
                        "What can be searched".to_owned(),
                    )],
                    _ => Vec::new(),
                },
            ),
            Problem::Refused(text) => {
                let ways = vec![("/me/".to_owned(), "Your page".to_owned())];
                (StatusCode::FORBIDDEN, "Not done", text, ways)
            }
            Problem::Busy(text) => (
                StatusCode::SERVICE_UNAVAILABLE,
                "In a moment",
                text,
                Vec::new(),
            ),
            Problem::Store(StoreError::Crowded) => {
                let text = "Too many searches run here just now. Try again in some seconds.";
                return Problem::Busy(text.to_owned()).answer(frame);
            }
            Problem::Store(StoreError::TooLong) => {
                let text = "This search takes too long: look for rarer or fewer words, or for a time such as d:3.months.ago.. beside them.";
                return Problem::Busy(text.to_owned()).answer(frame);
            }
            Problem::Store(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "a page could not be made: {error}"
                );
                let text =
                    "The archive does not answer just now. Nothing is lost; try again in a moment."
                        .to_owned();
                (
                    StatusCode::SERVICE_UNAVAILABLE,
                    "In a moment",
                    text,
                    Vec::new(),
                )
            }
        };
        let page = MessagePage {
            frame,
            heading: heading.to_owned(),
            text,
            ways,
        };
        let mut response = (status, html(&page)).into_response();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            let soon = header::HeaderValue::from_static(AGAIN);
            response.headers_mut().insert(header::RETRY_AFTER, soon);
        }
        response
    }
}
