//! The one writer of this process: gathers what is queued into one commit, flushes, then answers all.
//!
//! Each piece of work runs in a savepoint, so that one that fails does not fail the others. It never waits for
//! company: whoever comes while a commit is being flushed shares the next one.

use std::fs::File;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use sqlx::pool::PoolConnection;
use sqlx::{Any, AnyPool, Executor};
use tokio::sync::{Mutex, mpsc, oneshot};

use super::accept::{self, Pending};
use super::futures_box::BoxFuture;
use super::sql::{self, Bind, Text};
use super::{Dialect, StoreError};

/// A write transaction of the writer task.
pub struct Tx {
    pub(super) connection: PoolConnection<Any>,
    pub(super) dialect: Dialect,
}

impl Tx {
    /// Runs a statement; returns how many rows it touched.
    pub(crate) async fn execute(
        &mut self,
        text: impl Into<Text>,
        binds: Vec<Bind>,
    ) -> Result<u64, StoreError> {
        sql::execute(&mut self.connection, self.dialect, text.into(), binds).await
    }

    /// Rows of a read or of a `returning` statement.
    pub(crate) async fn fetch<T>(
        &mut self,
        text: impl Into<Text>,
        binds: Vec<Bind>,
    ) -> Result<Vec<T>, StoreError>
    where
        T: for<'r> sqlx::FromRow<'r, sqlx::any::AnyRow> + Send + Unpin,
    {
        sql::fetch(&mut self.connection, self.dialect, text.into(), binds).await
    }

    /// The first row of a read, if there is one.
    pub(crate) async fn fetch_one<T>(
        &mut self,
        text: impl Into<Text>,
        binds: Vec<Bind>,
    ) -> Result<Option<T>, StoreError>
    where
        T: for<'r> sqlx::FromRow<'r, sqlx::any::AnyRow> + Send + Unpin,
    {
        Ok(self.fetch(text, binds).await?.into_iter().next())
    }

    /// A multi-row insert; `tail` may say `on conflict … do nothing` and `returning …`.
    pub(crate) async fn insert(
        &mut self,
        head: &str,
        rows: Vec<Vec<Bind>>,
        tail: &str,
    ) -> Result<Vec<sqlx::any::AnyRow>, StoreError> {
        sql::insert(&mut self.connection, self.dialect, head, rows, tail).await
    }

    pub(super) async fn plain(&mut self, text: &'static str) -> Result<(), StoreError> {
        self.connection.execute(sqlx::raw_sql(text)).await?;
        Ok(())
    }
}

/// PostgreSQL's writers of other processes wait here, for the length of a transaction: what is gathered into one locks its rows in
/// any order, and two of them at once would end in a deadlock that some of the waiting hear of as an error.
const POSTGRES_BEGIN: &str =
    "begin; select pg_advisory_xact_lock(hashtext('patchpost writes ' || current_schema()))";

/// Work of any result type, in two steps: run inside the transaction, answer after the commit.
trait Step: Send {
    fn run<'t>(&'t mut self, tx: &'t mut Tx) -> BoxFuture<'t, Result<(), StoreError>>;
    /// Notes why it could not be done.
    fn fail(&mut self, error: StoreError);
    fn answer(self: Box<Self>, commit: Result<(), StoreError>);
}

struct Work<T, F> {
    work: Option<F>,
    value: Option<Result<T, StoreError>>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, F> Step for Work<T, F>
where
    T: Send + 'static,
    F: for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<T, StoreError>> + Send + 'static,
{
    fn run<'t>(&'t mut self, tx: &'t mut Tx) -> BoxFuture<'t, Result<(), StoreError>> {
        Box::pin(async move {
            let work = self.work.take().expect("a step is run once");
            match work(tx).await {
                Ok(value) => {
                    self.value = Some(Ok(value));
                    Ok(())
                }
                Err(error) => {
                    self.value = Some(Err(error));
                    Err(StoreError::Stale)
                }
            }
        })
    }

    fn fail(&mut self, error: StoreError) {
        self.value = Some(Err(error));
    }

    fn answer(self: Box<Self>, commit: Result<(), StoreError>) {
        let answer = match (self.value, commit) {
            (Some(Err(error)), _) => Err(error),
            (Some(Ok(value)), Ok(())) => Ok(value),
            (_, Err(error)) => Err(error),
            (None, Ok(())) => Err(StoreError::Temporary(sqlx::Error::WorkerCrashed)),
        };
        // The caller may have gone away: the work is committed all the same.
        let _gone = self.reply.send(answer);
    }
}

enum Request {
    Accept(Pending),
    Work(Box<dyn Step>),
}

/// The sending end of the writer's queue.
#[derive(Clone)]
pub struct Writer {
    queue: mpsc::Sender<Request>,
}

type Reply = oneshot::Sender<Result<Vec<accept::Accepted>, StoreError>>;
type Answer = oneshot::Receiver<Result<Vec<accept::Accepted>, StoreError>>;

/// How much one commit may gather: more would keep others off the lock for too long.
const BATCH: usize = 256;
const BATCH_TIME: Duration = Duration::from_millis(50);

impl Writer {
    /// Starts the task. `lock` is the file that processes on one SQLite folder take turns by.
    pub(super) fn start(pool: AnyPool, dialect: Dialect, lock: Option<Arc<File>>) -> Writer {
        // Bounded, so that a stalled disk is felt as waiting at the edge and not as memory.
        let (queue, requests) = mpsc::channel(1024);
        tokio::spawn(keep_serving(pool, dialect, lock, requests));
        Writer { queue }
    }

    pub(super) async fn run<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<T, StoreError>> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let step = Work {
            work: Some(work),
            value: None,
            reply,
        };
        self.send(Request::Work(Box::new(step))).await?;
        answer.await.unwrap_or(Err(gone()))
    }

    pub(super) async fn accept(
        &self,
        make: impl FnOnce(Reply) -> Pending,
    ) -> Result<Vec<accept::Accepted>, StoreError> {
        self.enqueue(make).await?.await.unwrap_or(Err(gone()))
    }

    /// Queues an acceptance; its answer comes when its commit is flushed.
    pub(super) async fn enqueue(
        &self,
        make: impl FnOnce(Reply) -> Pending,
    ) -> Result<Answer, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.send(Request::Accept(make(reply))).await?;
        Ok(answer)
    }

    async fn send(&self, request: Request) -> Result<(), StoreError> {
        self.queue.send(request).await.map_err(|_| gone())
    }
}

fn gone() -> StoreError {
    StoreError::Temporary(sqlx::Error::WorkerCrashed)
}

/// Runs the writer, and again if it should panic: who waits is told, and nothing of that transaction is committed.
async fn keep_serving(
    pool: AnyPool,
    dialect: Dialect,
    lock: Option<Arc<File>>,
    requests: mpsc::Receiver<Request>,
) {
    let requests = Arc::new(Mutex::new(requests));
    loop {
        let served = serve(pool.clone(), dialect, lock.clone(), Arc::clone(&requests));
        match tokio::spawn(served).await {
            Ok(()) => return,
            Err(error) => tracing::error!(%error, "the writer broke off and begins anew"),
        }
    }
}

async fn serve(
    pool: AnyPool,
    dialect: Dialect,
    lock: Option<Arc<File>>,
    requests: Arc<Mutex<mpsc::Receiver<Request>>>,
) {
    let mut requests = requests.lock().await;
    let mut tx: Option<Tx> = None;
    while let Some(first) = requests.recv().await {
        let connected = match tx.take() {
            Some(tx) => Ok(tx),
            None => pool.acquire().await.map(|connection| Tx {
                connection,
                dialect,
            }),
        };
        match connected {
            Ok(mut open) => {
                if let Some(lock) = &lock {
                    take(lock).await;
                }
                let sound = commit_one(&mut open, first, &mut requests).await;
                if let Some(lock) = &lock
                    && let Err(error) = lock.unlock()
                {
                    tracing::error!(%error, "could not release the write lock file");
                }
                if sound {
                    tx = Some(open);
                } else {
                    // A connection in an unknown state is closed, never used again.
                    open.connection.close_on_drop();
                }
            }
            Err(error) => answer(vec![first], &error),
        }
    }
}

/// Other processes hold this lock for one short transaction at a time.
pub(super) async fn take(lock: &Arc<File>) {
    if lock.try_lock().is_ok() {
        return;
    }
    let waiting = Arc::clone(lock);
    let taken = tokio::task::spawn_blocking(move || waiting.lock()).await;
    if !matches!(taken, Ok(Ok(()))) {
        // The database's own lock still keeps writers apart; only fairness is lost.
        tracing::warn!("could not take the write lock file");
    }
}

/// One transaction over `first` and what is queued behind it. Returns whether the connection is still sound.
async fn commit_one(tx: &mut Tx, first: Request, requests: &mut mpsc::Receiver<Request>) -> bool {
    let begin = match tx.dialect {
        Dialect::Sqlite => "begin immediate",
        Dialect::Postgres => POSTGRES_BEGIN,
    };
    if let Err(error) = tx.plain(begin).await {
        answer(vec![first], error);
        return false;
    }
    let started = Instant::now();
    let mut mails = Vec::new();
    let mut done: Vec<Box<dyn Step>> = Vec::new();
    let mut sound = true;
    let mut next = Some(first);
    while let Some(request) = next {
        match request {
            Request::Accept(pending) => mails.push(pending),
            Request::Work(mut step) => {
                sound &= match done.is_empty() {
                    true => at_the_start(tx, begin, &mut *step).await,
                    false => in_savepoint(tx, &mut *step).await,
                };
                done.push(step);
            }
        }
        let room = sound && mails.len() + done.len() < BATCH && started.elapsed() < BATCH_TIME;
        next = if room { requests.try_recv().ok() } else { None };
    }
    if sound && !mails.is_empty() {
        let alone = done.is_empty().then_some(begin);
        sound = accept::run(tx, &mut mails, alone).await;
    }
    let committed = if sound {
        tx.plain("commit").await
    } else {
        Err(gone())
    };
    if committed.is_err() && sound {
        // The outcome of a failed commit is known only after the rollback went through.
        sound = tx.plain("rollback").await.is_ok();
    }
    let problem = || match &committed {
        Ok(()) => Ok(()),
        Err(error) => Err(StoreError::Temporary(sqlx::Error::Protocol(
            error.to_string(),
        ))),
    };
    if let Err(error) = &committed {
        tracing::error!(
            error = error as &dyn std::error::Error,
            "a commit failed; nothing of it was acknowledged"
        );
    }
    for pending in mails {
        pending.answer(problem());
    }
    for step in done {
        step.answer(problem());
    }
    sound && committed.is_ok()
}

enum Ran {
    Well,
    Failed,
    /// The connection may be in the middle of a statement.
    Panicked,
}

/// Runs a step; a mail on which our code breaks off must not end the writer for all others.
async fn run_calmly(tx: &mut Tx, step: &mut dyn Step) -> Ran {
    let outcome = {
        let mut running = step.run(tx);
        let poll = |context: &mut Context<'_>| {
            let poll = || running.as_mut().poll(context);
            match std::panic::catch_unwind(AssertUnwindSafe(poll)) {
                Ok(Poll::Pending) => Poll::Pending,
                Ok(Poll::Ready(done)) => Poll::Ready(Some(done)),
                Err(_) => Poll::Ready(None),
            }
        };
        std::future::poll_fn(poll).await
    };
    match outcome {
        Some(Ok(())) => Ran::Well,
        Some(Err(_)) => Ran::Failed,
        None => {
            step.fail(StoreError::Unusable(
                "the program broke off while it wrote this; the log says where".to_owned(),
            ));
            Ran::Panicked
        }
    }
}

/// Runs the first step of a transaction, which needs no savepoint: with nothing before it, a failure takes back all there is.
/// Returns whether the connection is still sound.
async fn at_the_start(tx: &mut Tx, begin: &'static str, step: &mut dyn Step) -> bool {
    match run_calmly(tx, step).await {
        Ran::Well => true,
        Ran::Panicked => false,
        Ran::Failed => tx.plain("rollback").await.is_ok() && tx.plain(begin).await.is_ok(),
    }
}

/// Runs a step in a savepoint. Returns whether the connection is still sound.
async fn in_savepoint(tx: &mut Tx, step: &mut dyn Step) -> bool {
    if tx.plain("savepoint step").await.is_err() {
        return false;
    }
    match run_calmly(tx, step).await {
        Ran::Well => tx.plain("release savepoint step").await.is_ok(),
        Ran::Panicked => false,
        Ran::Failed => {
            tx.plain("rollback to savepoint step").await.is_ok()
                && tx.plain("release savepoint step").await.is_ok()
        }
    }
}

/// Runs `work` in a savepoint of its own; `Err` of the outer result means the connection is lost.
pub(super) async fn savepoint<T>(
    tx: &mut Tx,
    work: impl for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<T, StoreError>>,
) -> Result<Result<T, StoreError>, StoreError> {
    tx.plain("savepoint inner_step").await?;
    let result = work(tx).await;
    if result.is_err() {
        tx.plain("rollback to savepoint inner_step").await?;
    }
    tx.plain("release savepoint inner_step").await?;
    Ok(result)
}

fn answer(requests: Vec<Request>, error: impl std::fmt::Display) {
    for request in requests {
        let error = StoreError::Temporary(sqlx::Error::Protocol(error.to_string()));
        match request {
            Request::Accept(pending) => pending.answer(Err(error)),
            Request::Work(step) => step.answer(Err(error)),
        }
    }
}
