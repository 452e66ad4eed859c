//! Flags, config, gateway, listen, drain.

use std::process::ExitCode;

use frontgate::assemble::{self, KINDS};
use frontgate::cli::report::Subject;
use frontgate::cli::{self, Command};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let arguments = cli::parse();
    match &arguments.command {
        Command::Run(flags) => cli::run::run(flags, &arguments.log),
        Command::Check(flags) => cli::check::check(&flags.config, &KINDS, assemble::check),
        Command::Demo(flags) => cli::demo::run(flags, &arguments.log),
        Command::Routes(flags) => cli::show(Subject::Routes, flags),
        Command::Services(flags) => cli::show(Subject::Services, flags),
        Command::Instances(flags) => cli::show(Subject::Instances, flags),
        Command::Kinds => cli::kinds(&[
            ("registry", KINDS.registries),
            ("balance", KINDS.balancers),
            ("auth", KINDS.auths),
            ("rate_store", KINDS.rate_stores),
        ]),
        Command::Schema => cli::schema(&KINDS),
        Command::HashPassword(flags) => cli::hash_password::hash_password(flags),
    }
}
