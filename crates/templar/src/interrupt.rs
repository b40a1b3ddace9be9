//! Being asked to stop: Ctrl-C, or SIGTERM from a service manager.

use anyhow::Context;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Set for the processes of `templar up`: they stop when their standard input ends, which happens however `up` ends.
pub const STOP_WITH_STDIN: &str = "TEMPLAR_STOP_WITH_STDIN";

/// Returns when the process is asked to stop.
pub async fn asked_to_stop() -> anyhow::Result<()> {
    if std::env::var_os(STOP_WITH_STDIN).is_some() {
        tokio::select! {
            asked = signalled() => asked,
            () = stdin_ends() => Ok(()),
        }
    } else {
        signalled().await
    }
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

async fn signalled() -> anyhow::Result<()> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
        tokio::select! {
            pressed = tokio::signal::ctrl_c() => pressed.context("cannot listen for Ctrl-C"),
            _ = terminate.recv() => Ok(()),
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await.context("cannot listen for Ctrl-C")
}

/// A flag that turns true when the process is asked to stop, for work that looks now and then. Asked twice, the process
/// ends at once with 130.
pub fn stop_flag() -> anyhow::Result<Arc<AtomicBool>> {
    let flag = Arc::new(AtomicBool::new(false));
    let raised = Arc::clone(&flag);
    let runtime = runtime(1)?;
    std::thread::Builder::new()
        .name("interrupt".to_owned())
        .spawn(move || {
            runtime.block_on(async {
                if asked_to_stop().await.is_ok() {
                    raised.store(true, Ordering::Relaxed);
                }
                // Not the end of stdin, which has come already where that was the first request.
                if signalled().await.is_ok() {
                    std::process::exit(130);
                }
            });
        })
        .context("cannot start the thread that listens for Ctrl-C")?;
    Ok(flag)
}

/// A runtime for a command that serves or asks; few threads, since the heavy work is elsewhere.
pub fn runtime(threads: usize) -> anyhow::Result<tokio::runtime::Runtime> {
    let mut builder = match threads {
        1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    if threads > 1 {
        builder.worker_threads(threads);
    }
    builder.enable_all().build().context("cannot start the asynchronous runtime")
}
