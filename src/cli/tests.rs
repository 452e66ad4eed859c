//! What can be typed, and how `check` ends.

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use super::check::{WRONG, check};
use super::{Arguments, Command};
use crate::config::model::LogFormat;
use crate::config::{KindInfo, Kinds, Place};

const KINDS: Kinds<'_> = Kinds {
    registries: &[],
    balancers: &[KindInfo {
        name: "round_robin",
        about: "",
        keys: &[],
        check: None,
        names_only: false,
    }],
    auths: &[],
    rate_stores: &[],
};

#[test]
fn the_definitions_hold_together() {
    Arguments::command().debug_assert();
}

#[test]
fn verbs_have_their_flags_with_defaults() {
    let typed = |line: &str| Arguments::try_parse_from(line.split(' ')).map(|typed| typed.command);
    assert!(
        matches!(typed("frontgate run"), Ok(Command::Run(flag)) if flag.config == *"frontgate.toml")
    );
    assert!(
        matches!(typed("frontgate check --config a"), Ok(Command::Check(f)) if f.config == *"a")
    );
    assert!(matches!(
        typed("frontgate demo --port 0 --print-config"),
        Ok(Command::Demo(flags)) if flags.port == 0 && flags.admin_port == 9901 && flags.print_config
    ));
    for verb in ["routes", "services", "instances"] {
        let command = typed(&format!("frontgate {verb} --json"));
        let (Ok(Command::Routes(flags))
        | Ok(Command::Services(flags))
        | Ok(Command::Instances(flags))) = command
        else {
            panic!("{verb}")
        };
        assert!(flags.json && flags.admin == "http://127.0.0.1:9901");
    }
    for wrong in
        ["frontgate", "frontgate rnu", "frontgate run x", "frontgate check --log-level inof"]
    {
        assert_eq!(typed(wrong).unwrap_err().exit_code(), 2, "{wrong}");
    }
}

#[test]
fn log_flags_stand_before_and_after_the_verb() {
    for line in ["frontgate -v --log-format json run", "frontgate run -v --log-format json"] {
        let typed = Arguments::try_parse_from(line.split(' ')).unwrap();
        assert_eq!((typed.log.verbose, typed.log.log_format), (1, Some(LogFormat::Json)));
    }
    assert!(Arguments::try_parse_from(["frontgate", "run", "-q", "-v"]).is_err());
}

#[test]
fn check_ends_with_0_for_good_2_for_wrong_and_1_for_missing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("frontgate.toml");
    let code = |text: &str, verify: fn(&Place) -> bool| {
        std::fs::write(&path, text).unwrap();
        check(&path, &KINDS, |loaded, problems| {
            for place in loaded.route_places.iter().filter(|place| verify(place)) {
                problems.push(place, "found by a part", None);
            }
        })
    };
    let good = "[listen.web]\naddress = '127.0.0.1:0'\n[[route]]\nservice = 'a'\n[service.a]\nendpoints = ['http://127.0.0.1:1']\n";
    assert_eq!(code(good, |_| false), ExitCode::SUCCESS);
    assert_eq!(code("workers = 0", |_| false), ExitCode::from(WRONG));
    assert_eq!(code(good, |place| place.line() == 3), ExitCode::from(WRONG));
    let missing = folder.path().join("missing.toml");
    assert_eq!(check(&missing, &KINDS, |_, _| {}), ExitCode::FAILURE);
}
