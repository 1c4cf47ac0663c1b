//! HTTP/1.1 over our listeners, with header names in title case: pwclient depends on `Link`.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::net::{Gate, Listener, Patient, source};
use crate::store::Pulse;

/// A client that takes longer to say what it wants is cut off.
const HEADER_TIME: Duration = Duration::from_secs(20);
/// A client that takes nothing of its answer for so long is cut off: behind it a process or a download waits.
const READ_TIME: Duration = Duration::from_secs(60);

/// Who asks, beside the request: what a client is counted by.
#[derive(Debug, Clone, Copy)]
pub struct Client(pub Option<IpAddr>);

/// Serves a router on a listener until told to stop; open requests are answered.
pub async fn serve(
    listener: Listener,
    router: Router,
    gate: Arc<Gate>,
    stop: CancellationToken,
    tracker: TaskTracker,
) {
    loop {
        let (stream, peer) = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => return,
        };
        // Above the limit connections are closed at once: the client tries again.
        let Some(pass) = gate.enter(peer.map(|p| p.ip())) else {
            continue;
        };
        let client = Client(peer.and_then(|p| source(p.ip())));
        let routes = TowerToHyperService::new(router.clone());
        let service = service_fn(move |mut request: hyper::Request<Incoming>| {
            request.extensions_mut().insert(client);
            routes.call(request)
        });
        let stop = stop.clone();
        tracker.spawn(async move {
            let _pass = pass;
            let mut http = hyper::server::conn::http1::Builder::new();
            http.title_case_headers(true)
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_TIME);
            let connection =
                http.serve_connection(TokioIo::new(Patient::new(stream, READ_TIME)), service);
            tokio::pin!(connection);
            let ended = tokio::select! {
                ended = connection.as_mut() => ended,
                () = stop.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(error) = ended {
                tracing::debug!(%error, "an HTTP connection broke");
            }
        });
    }
}

/// `/health` and `/metrics`, for the operator's listener.
pub fn ops_router(pulse: Pulse, metrics: PrometheusHandle) -> Router {
    Router::new()
        .route("/health", get(health))
        .route("/metrics", get(show_metrics))
        .with_state((pulse, metrics))
}

async fn health(State((pulse, _)): State<(Pulse, PrometheusHandle)>) -> (StatusCode, &'static str) {
    match pulse.check().await {
        Ok(()) => (StatusCode::OK, "ok\n"),
        Err(error) => {
            tracing::error!(%error, "the database cannot be read and written");
            (
                StatusCode::SERVICE_UNAVAILABLE,
                "the database cannot be read and written\n",
            )
        }
    }
}

async fn show_metrics(State((pulse, handle)): State<(Pulse, PrometheusHandle)>) -> String {
    if let (Ok((jobs, parked)), Ok((owed, failed))) = (
        pulse.read.count_jobs().await,
        pulse.read.count_deliveries().await,
    ) {
        for (name, value) in [
            ("patchpost_jobs", jobs),
            ("patchpost_jobs_parked", parked),
            ("patchpost_copies_owed", owed),
            ("patchpost_copies_given_up", failed),
        ] {
            metrics::gauge!(name).set(value as f64);
        }
    }
    if let Ok(queue) = pulse.read.total_queue().await {
        let now = crate::store::now();
        let age = queue.oldest.map_or(0, |made| now.secs() - made.secs());
        for (name, value) in [
            ("patchpost_mail_owed", queue.owed),
            ("patchpost_mail_held", queue.held),
            ("patchpost_mail_given_up", queue.given_up),
            ("patchpost_mail_oldest_seconds", age),
        ] {
            metrics::gauge!(name).set(value as f64);
        }
    }
    if let Ok((count, oldest)) = pulse.read.count_held().await {
        let now = crate::store::now();
        let age = oldest.map_or(0, |at| now.secs() - at.secs());
        metrics::gauge!("patchpost_held").set(count as f64);
        metrics::gauge!("patchpost_held_oldest_seconds").set(age as f64);
    }
    handle.render()
}
