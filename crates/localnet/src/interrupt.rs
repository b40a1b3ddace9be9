//! Being asked to stop: Ctrl-C, or SIGTERM from a service manager.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

pub use crate::children::STOP_WITH_STDIN;

fn failed(what: &'static str) -> impl FnOnce(io::Error) -> io::Error {
    move |error| io::Error::new(error.kind(), format!("{what}: {error}"))
}

/// Listens from this call on for requests to stop; the future ends at the first. Call it before the process reports that
/// it runs: an earlier request would be lost, or end it at once.
pub fn asked_to_stop() -> io::Result<impl Future<Output = ()> + Send> {
    let signalled = signalled()?;
    Ok(async move {
        if std::env::var_os(STOP_WITH_STDIN).is_none() {
            return signalled.await;
        }
        tokio::select! {
            () = signalled => (),
            () = stdin_ends() => (),
        }
    })
}

async fn stdin_ends() {
    let (ended, wait) = tokio::sync::oneshot::channel::<()>();
    // A thread of its own: a read of stdin cannot be cancelled, and must not keep the runtime from ending.
    std::thread::spawn(move || {
        let mut rest = std::io::stdin().lock();
        let _ = std::io::copy(&mut rest, &mut std::io::sink());
        drop(ended);
    });
    let _ = wait.await;
}

#[cfg(unix)]
fn signalled() -> io::Result<impl Future<Output = ()> + Send> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).map_err(failed("cannot listen for SIGTERM"))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed("cannot listen for Ctrl-C"))?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => (),
            _ = terminate.recv() => (),
        }
    })
}

#[cfg(windows)]
fn signalled() -> io::Result<impl Future<Output = ()> + Send> {
    let mut pressed = tokio::signal::windows::ctrl_c().map_err(failed("cannot listen for Ctrl-C"))?;
    Ok(async move {
        let _ = pressed.recv().await;
    })
}

/// A flag that turns true when the process is asked to stop, for work that looks now and then. Asked twice, the process
/// ends at once with 130.
pub fn stop_flag() -> io::Result<Arc<AtomicBool>> {
    let flag = Arc::new(AtomicBool::new(false));
    let raised = Arc::clone(&flag);
    let runtime = runtime(1)?;
    let first = {
        let _inside = runtime.enter();
        asked_to_stop()?
    };
    std::thread::Builder::new()
        .name("interrupt".to_owned())
        .spawn(move || {
            runtime.block_on(async {
                first.await;
                raised.store(true, Ordering::Relaxed);
                // Not the end of stdin, which has come already where that was the first request.
                if let Ok(second) = signalled() {
                    second.await;
                    std::process::exit(130);
                }
            });
        })
        .map_err(failed("cannot start the thread that listens for Ctrl-C"))?;
    Ok(flag)
}

/// A runtime for a command that serves or asks; few threads, since the heavy work is elsewhere.
pub fn runtime(threads: usize) -> io::Result<tokio::runtime::Runtime> {
    let mut builder = match threads {
        1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    if threads > 1 {
        builder.worker_threads(threads);
    }
    builder.enable_all().build().map_err(failed("cannot start the asynchronous runtime"))
}
