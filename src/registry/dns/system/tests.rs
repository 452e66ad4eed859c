use super::*;

fn shown(candidates: Option<Vec<Name>>) -> String {
    let Some(candidates) = candidates else { return "none".to_owned() };
    candidates.iter().map(Name::to_ascii).collect::<Vec<_>>().join(" ")
}

fn searching(ndots: usize) -> Servers {
    let search = vec![Name::from_ascii("a.test").unwrap(), Name::from_ascii("test.").unwrap()];
    Servers { ndots, ..Servers::written(Vec::new(), search) }
}

#[test]
fn names_are_completed_as_the_system_does() {
    let servers = searching(1);
    assert_eq!(shown(servers.candidates("orders")), "orders.a.test. orders.test. orders.");
    assert_eq!(shown(servers.candidates("orders.x")), "orders.x. orders.x.a.test. orders.x.test.");
    assert_eq!(shown(servers.candidates("orders.")), "orders.");
    assert_eq!(
        shown(searching(5).candidates("_http._tcp.o")),
        "_http._tcp.o.a.test. _http._tcp.o.test. _http._tcp.o."
    );
    assert_eq!(shown(servers.candidates("a..b")), "none");
    assert_eq!(shown(servers.candidates(&"x".repeat(64))), "none");
    let plain = Servers::written(Vec::new(), Vec::new());
    assert_eq!(shown(plain.candidates("orders")), "orders.");
}

#[test]
fn what_the_system_knows_is_not_asked_for() {
    let text = "# a comment\n10.0.0.1 Db db.internal # more\n::1 ip6\n10.0.0.2\tdb\nnonsense x\n";
    let servers = Servers { hosts: names(text), ..Servers::default() };
    let known = |name: &str| {
        servers
            .known(name)
            .map(|all| all.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
    };
    assert_eq!(known("DB.").as_deref(), Some("10.0.0.1 10.0.0.2"));
    assert_eq!(known("db.internal").as_deref(), Some("10.0.0.1"));
    assert_eq!(known("ip6").as_deref(), Some("::1"));
    assert_eq!(known("localhost").as_deref(), Some("127.0.0.1"));
    assert_eq!(known("10.1.2.3").as_deref(), Some("10.1.2.3"));
    assert_eq!(known("fd00::1").as_deref(), Some("fd00::1"));
    assert_eq!(known("x"), None);
}

#[test]
fn the_server_that_answered_last_is_asked_first() {
    let addresses = ["10.0.0.1:53", "10.0.0.2:53", "10.0.0.3:53"].map(|text| text.parse().unwrap());
    let servers = Servers::written(addresses.to_vec(), Vec::new());
    let order = || servers.in_turn().map(|(index, _)| index).collect::<Vec<_>>();
    assert_eq!(order(), [0, 1, 2]);
    servers.answered(2);
    assert_eq!(order(), [2, 0, 1]);
    assert_eq!(Servers::default().in_turn().count(), 0);
}

#[test]
fn a_changed_file_is_read_again_and_one_that_says_nothing_is_not_believed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("resolv.conf");
    let settings = Settings {
        resolv_conf: file.clone(),
        hosts: folder.path().join("hosts"),
        port: 5353,
        ..Settings::new("test")
    };
    let system = System::new(&settings, None);
    let look = || {
        // As if a second had passed.
        if let Some(seen) = &mut *system.seen.lock().unwrap() {
            seen.at = Instant::now().checked_sub(LOOK).unwrap();
        }
        let servers = system.now();
        format!("{:?} {}", servers.addresses, shown(servers.candidates("x")))
    };
    fs::write(folder.path().join("hosts"), "10.0.0.1 here\n").unwrap();
    assert_eq!(look(), "[127.0.0.1:5353] x.", "without a file, the server on this machine");
    assert!(system.now().known("here").is_some());
    fs::write(&file, "search a.test\nnameserver 127.0.0.4\n").unwrap();
    assert_eq!(look(), "[127.0.0.4:5353] x.a.test. x.");
    fs::write(
        &file,
        "search b.test c.test\nnameserver 127.0.0.2\nnameserver ::1\noptions ndots:0\n",
    )
    .unwrap();
    assert_eq!(look(), "[127.0.0.2:5353, [::1]:5353] x. x.b.test. x.c.test.");
    fs::write(&file, "").unwrap();
    assert_eq!(look(), "[127.0.0.2:5353, [::1]:5353] x. x.b.test. x.c.test.");
    fs::write(&file, "nameserver 127.0.0.3\n").unwrap();
    assert!(look().starts_with("[127.0.0.3:5353] x."), "{}", look());
}
