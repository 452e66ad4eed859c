//! The command line.

pub mod check;
pub mod demo;
pub mod hash_password;
pub mod log;
pub mod report;
pub mod run;
mod table;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::model::LogFormat;
use crate::config::{self, KindInfo, Kinds};

/// An API gateway: finds services in Consul, exposes them under route prefixes, survives their failures.
#[derive(Debug, Parser)]
#[command(name = "frontgate", version)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// How to log while doing it.
    #[command(flatten)]
    pub log: LogFlags,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve until SIGTERM or SIGINT, then drain
    Run(ConfigFlag),
    /// Report every problem of a configuration; exit code 2 when there is one, 1 when it cannot be read
    Check(ConfigFlag),
    /// Serve an example that needs nothing else on the machine
    Demo(DemoFlags),
    /// Show the routes of a running gateway
    Routes(AdminFlags),
    /// Show the services of a running gateway
    Services(AdminFlags),
    /// Show the instances of a running gateway's services
    Instances(AdminFlags),
    /// List the kinds of pluggable parts
    Kinds,
    /// Print every key of a configuration with its default
    Schema,
    /// Make of a password, asked for or one line of standard input, the hash that stands for it in a configuration
    HashPassword(hash_password::HashFlags),
}

/// Which configuration.
#[derive(Args, Debug)]
pub struct ConfigFlag {
    /// The main configuration file
    #[arg(long, value_name = "FILE", default_value = "frontgate.toml")]
    pub config: PathBuf,
}

/// Where the demo listens.
#[derive(Args, Debug)]
pub struct DemoFlags {
    /// Port for clients; 0 is any free one
    #[arg(long, default_value_t = 8080)]
    pub port: u16,
    /// Port of the admin server; 0 is any free one
    #[arg(long, default_value_t = 9901)]
    pub admin_port: u16,
    /// Print the demo's configuration instead of serving it
    #[arg(long)]
    pub print_config: bool,
}

/// Which running gateway, and how its answer is shown.
#[derive(Args, Debug)]
pub struct AdminFlags {
    /// The gateway's admin server; its token, if it has one, is taken from `FRONTGATE_ADMIN_TOKEN`
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9901")]
    pub admin: String,
    /// Print the answer as it is
    #[arg(long)]
    pub json: bool,
}

/// What is logged and how; each goes before `RUST_LOG` and the configuration.
#[derive(Args, Debug, Default)]
pub struct LogFlags {
    /// Log less: warnings; twice, errors
    #[arg(short, long, global = true, action = clap::ArgAction::Count, conflicts_with = "verbose")]
    pub quiet: u8,
    /// Log more: debug; twice, everything
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// error, warn, info, debug, trace, or a filter such as `info,frontgate::registry=debug`
    #[arg(long, global = true, value_name = "LEVEL", value_parser = level)]
    pub log_level: Option<String>,
    /// text, json or logfmt
    #[arg(long, global = true, value_name = "FORMAT", value_parser = format)]
    pub log_format: Option<LogFormat>,
}

fn level(text: &str) -> Result<String, String> {
    match config::check_level(text) {
        Ok(()) => Ok(text.to_owned()),
        Err(hint) => Err(hint.unwrap_or_else(|| "not a level nor a filter".to_owned())),
    }
}

fn format(text: &str) -> Result<LogFormat, String> {
    let found = LogFormat::NAMES.iter().find(|(name, _)| *name == text);
    found.map(|(_, format)| *format).ok_or_else(|| "text, json or logfmt".to_owned())
}

/// Reads the arguments; help, the version and mistakes end the process, mistakes with 2.
pub fn parse() -> Arguments {
    Arguments::parse()
}

/// `frontgate schema`.
pub fn schema(kinds: &Kinds<'_>) -> ExitCode {
    say(&config::schema::print(kinds))
}

/// `frontgate kinds`: every table of kinds by the name of its part.
pub fn kinds(parts: &[(&str, &[KindInfo])]) -> ExitCode {
    let mut text = String::new();
    for (part, kinds) in parts {
        text.push_str(&format!("{part}\n"));
        for kind in *kinds {
            text.push_str(&format!("  {:<14} {}\n", kind.name, kind.about));
        }
    }
    say(&text)
}

/// `frontgate routes`, `services` and `instances`.
pub fn show(subject: report::Subject, flags: &AdminFlags) -> ExitCode {
    #[expect(clippy::disallowed_methods, reason = "the command line reads the environment")]
    let token = std::env::var("FRONTGATE_ADMIN_TOKEN").ok();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let shown = runtime.map_err(|error| error.to_string()).and_then(|runtime| {
        runtime.block_on(report::report(subject, &flags.admin, token.as_deref(), flags.json))
    });
    match shown {
        Ok(text) => say(&text),
        Err(message) => {
            complain(&format!("frontgate: {message}\n"));
            ExitCode::FAILURE
        }
    }
}

/// Writes to standard output; a reader that has left (`| head`) is no failure.
pub fn say(text: &str) -> ExitCode {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => ExitCode::FAILURE,
        _ => ExitCode::SUCCESS,
    }
}

/// Writes to standard error, as far as there is one.
pub fn complain(text: &str) {
    io::stderr().lock().write_all(text.as_bytes()).ok();
}

#[cfg(test)]
mod tests;
