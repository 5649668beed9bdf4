//! `touchline sql-worker`: carries out statements for the process that started it, which speaks to it through pipes.
//!
//! Nobody starts it by hand. It listens nowhere, writes no file, gives way to everything else on the machine, and ends
//! with whoever started it: their end of the pipe closes, however they died.

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use anyhow::Context as _;
use touchline_pipeline::sql::frames::{self, Kind};
use touchline_pipeline::sql::{Fitness, Greeting, Request, Worker};

use crate::confine;

/// Stack of the thread that plans: as deep as a statement may be nested, a plan is several times as deep.
const PLANNING_STACK_BYTES: usize = 64 << 20;

/// Serves until nobody asks any more.
pub fn run() -> ExitCode {
    confine::give_way();
    let (sender, asked) = channel();
    let listening = thread::Builder::new().name("sql-input".to_owned()).spawn(move || listen(&sender));
    let working = thread::Builder::new()
        .name("sql".to_owned())
        .stack_size(PLANNING_STACK_BYTES)
        .spawn(move || serve(&asked))
        .map(thread::JoinHandle::join);
    match (listening, working) {
        (Ok(_), Ok(Ok(Ok(())))) => ExitCode::SUCCESS,
        (_, Ok(Ok(Err(error)))) => {
            // Whoever started us reads this; if they are gone, nobody needs it.
            let _ = writeln!(io::stderr(), "{error:#}");
            ExitCode::FAILURE
        }
        (Err(_), _) | (_, Ok(Err(_)) | Err(_)) => ExitCode::FAILURE,
    }
}

/// Hands on what comes in. When nothing can come any more, the process ends, whatever it is at.
fn listen(sender: &Sender<Vec<u8>>) {
    let mut input = io::stdin().lock();
    while let Ok((Kind::Ask, content)) = frames::read(&mut input) {
        if sender.send(content).is_err() {
            break;
        }
    }
    std::process::exit(0);
}

fn serve(asked: &Receiver<Vec<u8>>) -> anyhow::Result<()> {
    let Ok(greeting) = asked.recv() else { return Ok(()) };
    let greeting: Greeting = serde_json::from_slice(&greeting).context("the greeting is not understood")?;
    let worker = Worker::new(&greeting)?;
    confine::forbid_files();
    // A stack is taken whole when its thread starts, however little of it is used.
    confine::limit_memory(greeting.process_memory_bytes.saturating_add(worker.stack_bytes()));
    let mut output = io::stdout().lock();
    while let Ok(request) = asked.recv() {
        let request: Request = serde_json::from_slice(&request).context("the request is not understood")?;
        match worker.answer(request, &mut output)? {
            Fitness::Fit => {}
            // Dropping the worker would wait for what its engine is still at.
            Fitness::Spoiled => std::process::exit(0),
        }
    }
    Ok(())
}
