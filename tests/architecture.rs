//! `src` keeps to its map: who may import whom, what touches the outside, how large things get.

#[path = "architecture/rules.rs"]
mod rules;
#[path = "architecture/source.rs"]
mod source;

use std::fs;
use std::path::Path;

use source::Source;

/// Every Rust file under `src`, its path relative to it.
#[expect(clippy::unwrap_used, reason = "a tree that cannot be read fails the test")]
fn ours() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(&root).unwrap().to_str().unwrap();
                found.push(Source::new(name, &fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// The breaches in a tree of `(path, text)`, each text opened with a line of documentation.
fn breaches(tree: &[(&str, &str)]) -> Vec<String> {
    let sources: Vec<_> =
        tree.iter().map(|(path, text)| Source::new(path, &format!("//! A.\n{text}"))).collect();
    rules::breaches(&sources)
}

fn assert_breach(tree: &[(&str, &str)], expected: &str) {
    let found = breaches(tree);
    assert!(found.len() == 1 && found[0].contains(expected), "{expected:?} in {found:#?}");
}

#[test]
fn the_tree_keeps_its_rules() {
    let sources = ours();
    assert!(sources.len() > 10, "the sources were found");
    let found = rules::breaches(&sources);
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn rows_may_import_what_stands_below() {
    let tree = [
        ("main.rs", "use frontgate::cli;"),
        ("lib.rs", "pub mod gateway;"),
        ("cli.rs", "use crate::{assemble, config::load, demo::{Backend, Sample}};"),
        ("demo/mod.rs", "use crate::registry::Registry;"),
        ("listen/mod.rs", "use crate::assemble::World; use super::gateway;"),
        ("assemble.rs", "use crate::gateway::Table; use super::router;"),
        ("gateway.rs", "use crate::{router, guard, forward};"),
        ("forward/pool.rs", "use crate::exchange::Exchange; use super::service;"),
        ("forward/balance/random.rs", "use super::super::instance; use crate::forward::service;"),
        ("exchange.rs", "use crate::refusal::Refusal;"),
        ("refusal.rs", "use crate::wire::Body;"),
    ];
    assert_eq!(breaches(&tree), [""; 0]);
}

#[test]
fn rows_may_not_import_upwards_or_sideways() {
    for (path, text, expected) in [
        ("forward/pool.rs", "use crate::router::Router;", "forward may not import router"),
        ("forward/pool.rs", "use super::super::router;", "forward may not import router"),
        ("router/mod.rs", "use {std::rc::Rc, crate::{guard}};", "router may not import guard"),
        ("guard/cors.rs", "fn f() { crate::gateway::answer() }", "guard may not import gateway"),
        ("gateway.rs", "use super::assemble;", "gateway may not import assemble"),
        ("listen/mod.rs", "use crate::admin;", "listen may not import admin"),
        ("wire/h1/head.rs", "use crate::refusal::Refusal;", "wire may not import refusal"),
        ("wire/body.rs", "use super::super::config;", "wire may not import config"),
        ("config/mod.rs", "use crate::wire::Body;", "config may not import wire"),
        ("refusal.rs", "use crate::exchange::Exchange;", "refusal may not import exchange"),
        ("demo/mod.rs", "use crate::cli;", "demo may not import cli"),
        ("gossip.rs", "", "gossip has no row"),
        ("gateway.rs", "use crate::*;", "imports the whole crate"),
    ] {
        assert_breach(&[(path, text)], expected);
    }
}

#[test]
fn some_crates_stay_in_their_places() {
    for (path, text, expected) in [
        ("listen/mod.rs", "use axum::Router;", "axum belongs under admin/"),
        ("gateway.rs", "use tower::Service;", "tower belongs under admin/"),
        ("forward/pool.rs", "#[derive(serde::Deserialize)] struct A;", "serde belongs"),
        ("refusal.rs", "fn f() { serde_json::json!({}) }", "serde_json belongs"),
        ("admin/mod.rs", "use toml::Value;", "toml belongs"),
        ("forward/pool.rs", "use std::{env, rc::Rc};", "the environment belongs"),
        ("forward/pool.rs", "use std::{fs::File, rc::Rc};", "the file system belongs"),
        ("registry/consul.rs", "fn f() { tokio::fs::read(p) }", "the file system belongs"),
    ] {
        assert_breach(&[(path, text)], expected);
    }
    let fine = [
        ("admin/routes.rs", "use axum::Router; use serde::Serialize;"),
        ("config/file.rs", "use toml::Spanned; use std::{env, fs};"),
        ("registry/consul.rs", "use serde_json::Value;"),
        ("guard/auth/jwt.rs", "use serde::Deserialize;"),
        ("listen/tls.rs", "use std::fs;"),
        ("state.rs", "use std::fs;"),
        ("cli/run.rs", "use std::env;"),
    ];
    assert_eq!(breaches(&fine), [""; 0]);
}

#[test]
fn tests_are_free_of_the_rules_for_code() {
    let long = "\n".repeat(900);
    let module = format!("#[cfg(test)]\nmod tests {{ use crate::router; {long} }}");
    let item = "#[cfg(test)]\nuse axum::Router;\nuse crate::exchange::Exchange;";
    let tree =
        [("forward/a.rs", &*module), ("forward/b/tests.rs", &*module), ("forward/c.rs", item)];
    assert_eq!(breaches(&tree), [""; 0]);
}

#[test]
fn a_long_file_is_a_breach() {
    let short = ("gateway.rs", "");
    assert_breach(&[("exchange.rs", &"\n".repeat(401)), short, short], "402 lines, at most 400");
    assert_eq!(breaches(&[("exchange.rs", &"\n".repeat(399)), short, short]), [""; 0]);
}

#[test]
fn a_median_file_of_more_than_150_lines_is_a_breach() {
    let long = "\n".repeat(200);
    assert_breach(
        &[("exchange.rs", &long), ("gateway.rs", ""), ("refusal.rs", &long)],
        "median file has 201 lines, at most 150",
    );
}

#[test]
fn a_long_function_is_a_breach() {
    let of =
        |lines: usize| format!("impl A {{ fn f() -> [u8; 2] {{\n{}}} }}", "a();\n".repeat(lines));
    assert_breach(&[("gateway.rs", &of(61))], "gateway.rs:2: fn f has 61 lines, at most 60");
    let reasons = of(60).replacen("a();\n", "a();\n// why\n\n", 9);
    assert_eq!(breaches(&[("gateway.rs", &reasons)]), [""; 0]);
}

#[test]
fn a_function_of_many_parameters_is_a_breach() {
    let six = "fn f<F: Fn(u8) -> u8>(&self, a: Map<u8, u8>, b: (u8, u8), c: u8, d: F, e: u8) {}";
    assert_breach(&[("gateway.rs", six)], "fn f has 6 parameters, at most 5");
    let five =
        "fn f<F: Fn(u8) -> u8>(a: Map<u8, u8>, b: fn(u8, u8) -> u8, c: [u8; 2], d: F, e: u8,) {}";
    assert_eq!(breaches(&[("gateway.rs", five)]), [""; 0]);
    let dictated = format!("impl<'a> Verify for &'a A {{ {six} }}");
    assert_eq!(breaches(&[("gateway.rs", &dictated)]), [""; 0]);
    assert_breach(&[("gateway.rs", &format!("{dictated} impl A {{ {six} }}"))], "6 parameters");
}

#[test]
fn a_deep_folder_is_a_breach() {
    assert_breach(&[("guard/auth/jwt/keys.rs", "")], "at most 3 levels");
    assert_eq!(breaches(&[("guard/auth/jwt.rs", ""), ("guard/auth/jwt/tests.rs", "")]), [""; 0]);
}

#[test]
fn a_file_without_its_line_of_documentation_is_a_breach() {
    let found = rules::breaches(&[Source::new("gateway.rs", "use std::rc::Rc;\n")]);
    assert!(found.len() == 1 && found[0].contains("open with `//!`"), "{found:?}");
}

#[test]
fn names_that_say_nothing_are_a_breach() {
    assert_breach(&[("forward/utils.rs", "")], "utils says nothing");
    assert_breach(&[("forward/mod.rs", "mod helper { }")], "helper says nothing");
    assert_breach(&[("forward/mod.rs", "fn get_pool() {}")], "get_pool: no get_");
}

#[test]
fn work_put_off_is_a_breach() {
    // Assembled, so that a search of the tree for such words does not find this line.
    for word in ["TO-DO", "FIX-ME", "X-XX"].map(|word| word.replace('-', "")) {
        assert_breach(&[("gateway.rs", &format!("// {word}: later"))], &word);
        assert_breach(&[("gateway/tests.rs", &format!("// {word}: later"))], &word);
    }
}

#[test]
fn text_and_comments_are_not_code() {
    let text = r##"
        // use crate::assemble;
        /* use crate::assemble; /* nested */ use crate::assemble; */
        const A: &str = "use crate::assemble; \" //";
        const B: &str = r#"use crate::assemble; " fn f("#;
        const C: char = '"';
        const D: &[u8] = b"crate::assemble";
        fn f<'a>(a: &'a str) -> char { '\'' }
    "##;
    assert_eq!(breaches(&[("gateway.rs", text)]), [""; 0]);
    assert_breach(&[("gateway.rs", &format!("{text} use crate::assemble;"))], "assemble");
}
