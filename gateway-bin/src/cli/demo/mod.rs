//! `gateway demo`: a sample shop behind the gateway, in one process.
//!
//! In: a port. Out: printed requests to try, or with `--check` whether they are answered as
//! promised. Not here: the manifests (`gateway-bin/demo`), the requests (`steps`), the demo of TLS
//! (`secure`).

mod secure;
mod shop;
mod steps;
mod verify;

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use self::{
    shop::Shop,
    steps::{Ports, STEPS},
    verify::verify,
};
use crate::args::DemoArgs;

/// Runs until Ctrl-C, or with `--check` until all requests are verified.
pub fn run(args: &DemoArgs) -> ExitCode {
    let runtime = tokio::runtime::Runtime::new();
    let ran = runtime.and_then(|runtime| runtime.block_on(show(args)));
    ran.unwrap_or_else(|error| {
        // Nobody is left to be told that this failed.
        let _ = writeln!(io::stderr(), "error: the demo cannot start: {error}");
        ExitCode::FAILURE
    })
}

async fn show(args: &DemoArgs) -> io::Result<ExitCode> {
    if args.tls {
        return secure::show(args.port, args.check).await;
    }
    let shop = Shop::open(args.port).await?;
    let code = if args.check {
        check(&shop).await?
    } else {
        print(shop.ports)?;
        tokio::signal::ctrl_c().await?;
        ExitCode::SUCCESS
    };
    shop.close().await;
    Ok(code)
}

fn print(ports: Ports) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "A shop is open on http://127.0.0.1:{} and https://127.0.0.1:{}.",
        ports.http, ports.https
    )?;
    writeln!(out, "Its routes are the files in gateway-bin/demo. Try, in another terminal:\n")?;
    for step in STEPS {
        writeln!(out, "# {}\n{}\n", step.shows, step.curl(ports))?;
    }
    writeln!(out, "Ctrl-C ends the demo.")
}

async fn check(shop: &Shop) -> io::Result<ExitCode> {
    let mut failed = 0;
    for step in STEPS {
        let differences = verify(step, shop.ports, shop.certificate.as_bytes()).await;
        let mut out = io::stdout().lock();
        writeln!(
            out,
            "{} {}",
            if differences.is_empty() { "ok    " } else { "FAILED" },
            step.shows
        )?;
        for difference in &differences {
            writeln!(out, "       {difference}")?;
        }
        failed += usize::from(!differences.is_empty());
    }
    writeln!(
        io::stdout(),
        "{} of {} requests are answered as promised",
        STEPS.len() - failed,
        STEPS.len()
    )?;
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
