//! Answers that no real server would give, and none at all.

use std::time::{Duration, Instant};

use frontgate::registry::{Health, Registry, State};
use hickory_resolver::proto::op::{Message, ResponseCode};
use hickory_resolver::proto::rr::{RData, RecordType};
use tokio::task::JoinSet;

use super::super::support::wait;
use super::super::{SOON, addresses, live, stale};
use super::script::{self, Act, RETURNED, Script, answer, code, found, instance};
use super::{host, srv};

/// Two silent datagrams, and a silent connection.
const SILENCE: Duration = Duration::from_secs(12);

type Bad = Box<dyn Fn(&Message, bool) -> Act + Send + Sync>;

/// The bytes of a good answer with another instance, to be spoilt.
fn other(question: &Message) -> Vec<u8> {
    found(question, 66, 1).to_vec().expect("a message")
}

fn truncated(question: &Message) -> Act {
    let mut answer = answer(question, ResponseCode::NoError);
    answer.metadata.truncation = true;
    Act::Answer(answer)
}

/// Every bad answer with a part of the reason that is told.
fn bad_answers() -> Vec<(&'static str, Bad)> {
    let over_tcp = |bytes: fn(&Message) -> Vec<Vec<u8>>| -> Bad {
        Box::new(move |q, tcp| if tcp { Act::Raw(bytes(q)) } else { truncated(q) })
    };
    let spoilt = |spoil: fn(&mut Vec<u8>)| -> Bad {
        Box::new(move |q, _| {
            let mut bytes = other(q);
            spoil(&mut bytes);
            Act::Raw(vec![bytes])
        })
    };
    vec![
        ("answers SERVFAIL", Box::new(code(ResponseCode::ServFail))),
        ("answers REFUSED: it does not serve this name", Box::new(code(ResponseCode::Refused))),
        ("answers NOTIMP", Box::new(code(ResponseCode::NotImp))),
        ("answers FORMERR", Box::new(code(ResponseCode::FormErr))),
        ("answers the error code 6", Box::new(code(ResponseCode::YXDomain))),
        (
            "refers to other servers",
            Box::new(|q, _| {
                let mut answer = answer(q, ResponseCode::NoError);
                answer.add_authority(script::referral());
                Act::Answer(answer)
            }),
        ),
        ("does not answer within 2s", Box::new(|_, _| Act::Nothing)),
        ("sends what is no answer to the question", spoilt(|bytes| bytes[0] ^= 1)),
        ("sends what is no answer to the question", spoilt(|bytes| bytes[2] &= 0x7f)),
        ("sends what is no answer to the question", spoilt(|bytes| bytes[13] ^= 0x20 | 3)),
        ("sends what cannot be read", spoilt(|bytes| bytes.truncate(40))),
        ("sends what cannot be read", spoilt(|bytes| bytes[7] = 0xff)),
        ("sends what is no answer to the question", spoilt(|bytes| bytes.clear())),
        (
            "sends what is no answer to the question",
            Box::new(|_, _| Act::Raw(vec![vec![0xa5; 1400]; 200])),
        ),
        (
            "lead nowhere",
            Box::new(|q, _| {
                let mut answer = answer(q, ResponseCode::NoError);
                let owner = q.queries[0].name.to_ascii();
                answer.add_answer(script::alias(
                    &owner,
                    1,
                    &format!("x{}", &owner[..owner.len().min(40)]),
                ));
                Act::Answer(answer)
            }),
        ),
        ("cuts its answer off", Box::new(|q, _| truncated(q))),
        (
            "does not answer over TCP",
            Box::new(|q, tcp| if tcp { Act::Nothing } else { truncated(q) }),
        ),
        ("breaks off in the middle", over_tcp(|_| Vec::new())),
        ("breaks off in the middle", over_tcp(|q| vec![vec![0xff, 0xff], other(q)])),
        ("no answer to the question", over_tcp(|_| vec![vec![0, 0]])),
        ("no answer to the question", over_tcp(|_| vec![vec![b'x'; 1 << 20]; 50])),
    ]
}

/// The last set stays, the server is not hammered, and a good answer is believed again.
async fn survives(reason: &'static str, bad: Bad) {
    let script = Script::start(instance(1, 1)).await;
    let registry = script.registry();
    let mut found = registry.watch(srv("s.test"));
    live(&mut found, &["10.0.0.1:1"], SOON).await;
    script.now(bad);
    let set = stale(&mut found, SILENCE).await;
    let State::Stale { reason: said, .. } = &set.state else { panic!("{set:?}") };
    assert!(said.contains(reason) && said.len() < 200, "{said}, not {reason}");
    assert_eq!(addresses(&set), ["10.0.0.1:1"], "{reason}");
    assert_eq!(registry.status().health, Health::Stale, "{reason}");
    let (start, watched) = (Instant::now(), Duration::from_secs(6));
    tokio::time::sleep(watched).await;
    let asked = script.count_since(start);
    // A look may take several questions; they are a second apart as well.
    assert!((1..=7).contains(&asked), "{reason}: asked {asked} times within {watched:?}");
    script.now(instance(2, 1));
    live(&mut found, &["10.0.0.1:2"], SILENCE).await;
    assert_eq!(registry.status().health, Health::Ok, "{reason}");
}

#[tokio::test]
async fn every_bad_answer_keeps_the_last_set_and_is_told_apart() {
    let mut all = JoinSet::new();
    for (reason, bad) in bad_answers() {
        all.spawn(survives(reason, bad));
    }
    while let Some(done) = all.join_next().await {
        done.expect("it survives");
    }
}

#[tokio::test]
async fn a_server_that_never_did_anything_but_refuse_is_failed_and_seldom_asked() {
    let script = Script::start(code(ResponseCode::Refused)).await;
    let registry = script.registry();
    let found = registry.watch(srv("s.test"));
    tokio::time::sleep(Duration::from_secs(8)).await;
    let status = registry.status();
    assert_eq!((status.health, status.last_success), (Health::Failed, None), "{status:?}");
    assert!(matches!(found.borrow().state, State::Unheard { .. }));
    let asked = script.asked().len();
    assert!((2..=7).contains(&asked), "asked {asked} times within 8 s");
}

#[tokio::test]
async fn a_name_that_does_not_exist_and_one_without_records_are_empty_sets() {
    let script = Script::start(instance(1, 1)).await;
    let registry = script.registry();
    let mut found = registry.watch(srv("s.test"));
    for code in [ResponseCode::NXDomain, ResponseCode::NoError] {
        live(&mut found, &["10.0.0.1:1"], RETURNED).await;
        script.now(move |question, _| {
            let mut answer = answer(question, code);
            answer.add_authority(script::start_of_authority(1));
            Act::Answer(answer)
        });
        live(&mut found, &[], SOON).await;
        script.now(instance(1, 1));
    }
}

#[tokio::test]
async fn a_server_that_is_silent_over_udp_is_asked_over_tcp() {
    let script = Script::start(|question, tcp| match tcp {
        true => Act::Answer(found(question, 1, 30)),
        false => Act::Nothing,
    })
    .await;
    let mut found = script.registry().watch(srv("s.test"));
    live(&mut found, &["10.0.0.1:1"], SILENCE).await;
    let tcp: Vec<bool> = script.asked().iter().map(|asked| asked.tcp).collect();
    assert_eq!(tcp, [false, false, true]);
}

#[tokio::test]
async fn the_smallest_time_drives_the_refresh_and_none_means_a_second() {
    for (ttl, least, most) in [(0, 3, 6), (1, 3, 6), (3, 1, 2), (3600, 1, 1)] {
        let script = Script::start(instance(1, ttl)).await;
        let start = Instant::now();
        let mut found = script.registry().watch(srv("s.test"));
        live(&mut found, &["10.0.0.1:1"], SOON).await;
        found.mark_unchanged();
        tokio::time::sleep(Duration::from_millis(4500).saturating_sub(start.elapsed())).await;
        let asked = script.asked().len();
        assert!((least..=most).contains(&asked), "with {ttl} s asked {asked} times in 4.5 s");
        assert!(!found.has_changed().expect("it lives"), "the same set is no news");
    }
}

#[tokio::test]
async fn a_target_that_cannot_be_looked_up_keeps_its_last_address() {
    let answers = |question: &Message, broken: bool, extra: bool| {
        let mut answer = answer(question, ResponseCode::NoError);
        let query = question.queries[0].clone();
        let owner = query.name.to_ascii();
        if query.query_type == RecordType::SRV {
            answer.add_answer(script::service("s.test.", 1, 1, "a.test."));
            if extra {
                answer.add_answer(script::service("s.test.", 1, 2, "b.test."));
            }
        } else if broken && owner == "a.test." {
            answer.metadata.response_code = ResponseCode::ServFail;
        } else if query.query_type == RecordType::A {
            answer.add_answer(script::address(&owner, 1, owner.as_bytes()[0]));
        } else {
            answer.add_authority(script::start_of_authority(1));
        }
        Act::Answer(answer)
    };
    let script = Script::start(move |question, _| answers(question, true, false)).await;
    let registry = script.registry();
    let mut found = registry.watch(srv("s.test"));
    // Never known: that is not nothing.
    wait::seen(&mut found, "unheard", SOON, |found| {
        matches!(&found.state, State::Unheard { reason, .. } if reason.contains("SERVFAIL"))
    })
    .await;
    script.now(move |question, _| answers(question, false, false));
    live(&mut found, &["10.0.0.97:1"], RETURNED).await;
    script.now(move |question, _| answers(question, true, true));
    live(&mut found, &["10.0.0.97:1", "10.0.0.98:2"], RETURNED).await;
}

#[tokio::test]
async fn a_target_that_could_not_be_looked_up_is_asked_for_again_soon_however_long_its_record_holds()
 {
    let answers = |question: &Message, broken: bool| {
        let mut answer = answer(question, ResponseCode::NoError);
        let query = question.queries[0].clone();
        let owner = query.name.to_ascii();
        if query.query_type == RecordType::SRV {
            answer.add_answer(script::service("s.test.", 3600, 1, "a.test."));
            answer.add_answer(script::service("s.test.", 3600, 2, "b.test."));
        } else if broken && owner == "b.test." {
            answer.metadata.response_code = ResponseCode::ServFail;
        } else if query.query_type == RecordType::A {
            answer.add_answer(script::address(&owner, 3600, owner.as_bytes()[0]));
        } else {
            answer.add_authority(script::start_of_authority(3600));
        }
        Act::Answer(answer)
    };
    let script = Script::start(move |question, _| answers(question, true)).await;
    let mut found = script.registry().watch(srv("s.test"));
    live(&mut found, &["10.0.0.97:1"], SOON).await;
    script.now(move |question, _| answers(question, false));
    live(&mut found, &["10.0.0.97:1", "10.0.0.98:2"], RETURNED).await;
}

#[tokio::test]
async fn addresses_of_one_family_stay_while_only_the_other_can_be_looked_up() {
    let answers = |question: &Message, has_old: bool, failure: Option<ResponseCode>| {
        let mut answer = answer(question, ResponseCode::NoError);
        let query = question.queries[0].clone();
        let owner = query.name.to_ascii();
        if query.query_type == RecordType::SRV {
            answer.add_answer(script::service("s.test.", 1, 1, "h.test."));
        } else if query.query_type == RecordType::AAAA {
            let ip = std::net::Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 7);
            answer.add_answer(script::record(&owner, 1, RData::AAAA(ip.into())));
        } else if let Some(code) = failure {
            answer.metadata.response_code = code;
        } else if has_old {
            answer.add_answer(script::address(&owner, 1, 7));
        } else {
            answer.add_authority(script::start_of_authority(1));
        }
        Act::Answer(answer)
    };
    let script = Script::start(move |question, _| answers(question, true, None)).await;
    let registry = script.registry();
    let mut by_name = registry.watch(host("h.test", 1));
    let mut by_record = registry.watch(srv("s.test"));
    for found in [&mut by_name, &mut by_record] {
        live(found, &["10.0.0.7:1", "[fd00::7]:1"], SOON).await;
    }
    script.now(move |question, _| answers(question, true, Some(ResponseCode::ServFail)));
    let start = Instant::now();
    wait::until("several looks", RETURNED, async || {
        let looked = |a: &&script::Asked| a.at >= start && a.what == "h.test. AAAA";
        (script.asked().iter().filter(looked).count() >= 4).then_some(())
    })
    .await;
    for found in [&by_name, &by_record] {
        assert_eq!(addresses(&found.borrow()), ["10.0.0.7:1", "[fd00::7]:1"]);
    }
    script.now(move |question, _| answers(question, false, None));
    for found in [&mut by_name, &mut by_record] {
        live(found, &["[fd00::7]:1"], RETURNED).await;
    }
}

#[tokio::test]
async fn an_alias_is_followed_by_asking_again() {
    let script = Script::start(|question, _| {
        let mut answer = answer(question, ResponseCode::NoError);
        let query = question.queries[0].clone();
        let owner = query.name.to_ascii();
        if owner == "h.test." {
            answer.add_answer(script::alias("h.test.", 1, "real.test."));
        } else if query.query_type == RecordType::A {
            answer.add_answer(script::address(&owner, 60, 7));
            // Nobody asked for this one.
            answer.add_answer(script::address("evil.test.", 60, 66));
        } else {
            answer.add_authority(script::start_of_authority(60));
        }
        Act::Answer(answer)
    })
    .await;
    let mut found = script.registry().watch(host("h.test", 80));
    live(&mut found, &["10.0.0.7:80"], SOON).await;
}

#[tokio::test]
async fn a_record_that_cannot_be_read_is_left_out_and_the_rest_of_the_answer_stays() {
    let broken = |question: &Message, with_good: bool| {
        let mut message = answer(question, ResponseCode::NoError);
        let owner = message.queries[0].name.to_ascii();
        if with_good {
            message.add_answer(script::service(&owner, 1, 1, "a.test."));
        }
        message.add_answer(script::service(&owner, 1, 2, "zzzz.test."));
        message.add_additional(script::address("a.test.", 1, 1));
        let mut bytes = message.to_vec().expect("a message");
        let at = bytes.windows(4).position(|four| four == b"zzzz").expect("the bad one's target");
        // A length that no label has.
        bytes[at - 1] = 0x7f;
        Act::Raw(vec![bytes])
    };
    let script = Script::start(move |question, _| broken(question, true)).await;
    let registry = script.registry();
    let mut found = registry.watch(srv("s.test"));
    live(&mut found, &["10.0.0.1:1"], SOON).await;
    // Nothing but such records is no empty answer.
    script.now(move |question, _| broken(question, false));
    let set = stale(&mut found, SILENCE).await;
    assert_eq!(addresses(&set), ["10.0.0.1:1"]);
    let State::Stale { reason, .. } = &set.state else { panic!("{set:?}") };
    assert!(reason.contains("cannot be read"), "{reason}");
}
