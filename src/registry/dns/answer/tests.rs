use hickory_resolver::proto::rr::Record;
use hickory_resolver::proto::rr::rdata::{A, CNAME, NS, SOA, SRV};

use super::*;

fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

fn record(owner: &str, ttl: u32, data: RData) -> Record {
    Record::from_rdata(name(owner), ttl, data)
}

fn address(owner: &str, ttl: u32) -> Record {
    record(owner, ttl, RData::A(A::new(10, 0, 0, 1)))
}

fn alias(owner: &str, ttl: u32, target: &str) -> Record {
    record(owner, ttl, RData::CNAME(CNAME(name(target))))
}

fn soa(ttl: u32, minimum: u32) -> Record {
    let soa = SOA::new(name("ns.test."), name("root.test."), 1, 1, 1, 1, minimum);
    record("test.", ttl, RData::SOA(soa))
}

/// What an answer to the addresses of `h.test.` says, in one word, and for how many seconds.
fn shown(code: ResponseCode, answers: &[Record], authorities: &[Record]) -> String {
    let query = Query::query(name("h.test."), RecordType::A);
    let mut message = Message::query();
    message.metadata.response_code = code;
    message.add_answers(answers.to_vec()).add_authorities(authorities.to_vec());
    match read(&message, &query, "server") {
        Ok(Said::Records(records)) => {
            format!("{} for {}", records.data.len(), records.ttl.as_secs())
        }
        Ok(Said::Alias(name, ttl)) => format!("{name} for {}", ttl.as_secs()),
        Ok(Said::None { ttl, nothing }) => {
            format!("{} for {}", if nothing { "no name" } else { "none" }, ttl.as_secs())
        }
        Err(Trouble::Refused(why)) => format!("refused: {why}"),
        Err(trouble) => format!("trouble: {trouble}"),
    }
}

#[test]
fn records_hold_for_the_smallest_time_on_the_way_to_them() {
    let ok = ResponseCode::NoError;
    assert_eq!(shown(ok, &[address("h.test.", 9), address("H.TEST.", 7)], &[]), "2 for 7");
    let chain =
        [alias("h.test.", 3, "i.test."), alias("i.test.", 5, "j.test."), address("j.test.", 9)];
    assert_eq!(shown(ok, &chain, &[]), "1 for 3");
    assert_eq!(shown(ok, &[address("h.test.", u32::MAX)], &[]), "1 for 0", "RFC 2181");
    assert_eq!(shown(ok, &[address("evil.test.", 9), address("h.test.", 9)], &[]), "1 for 9");
}

#[test]
fn an_alias_without_its_target_is_to_be_asked_for() {
    let ok = ResponseCode::NoError;
    assert_eq!(shown(ok, &[alias("h.test.", 3, "i.test.")], &[]), "i.test. for 3");
    assert_eq!(shown(ok, &[alias("h.test.", 3, "i.test.")], &[soa(9, 9)]), "none for 3");
    let circle = [alias("h.test.", 3, "i.test."), alias("i.test.", 3, "h.test.")];
    assert!(["h.test. for 3", "none for 5"].contains(&shown(ok, &circle, &[]).as_str()));
}

#[test]
fn nothing_holds_as_long_as_the_zone_says() {
    for (code, word) in [(ResponseCode::NoError, "none"), (ResponseCode::NXDomain, "no name")] {
        assert_eq!(shown(code, &[], &[soa(60, 20)]), format!("{word} for 20"));
        assert_eq!(shown(code, &[], &[soa(6, 20)]), format!("{word} for 6"));
        assert_eq!(shown(code, &[], &[]), format!("{word} for 5"));
        let alias = alias("h.test.", 3, "i.test.");
        assert_eq!(shown(code, &[alias], &[soa(60, 20)]), format!("{word} for 3"));
    }
}

#[test]
fn what_could_not_be_found_out_is_not_nothing() {
    let referral = record("test.", 9, RData::NS(NS(name("ns.test."))));
    let said = shown(ResponseCode::NoError, &[], &[referral]);
    assert_eq!(
        said,
        "refused: server does not know this name: it refers to other servers instead of asking them"
    );
    for (code, expected) in [
        (ResponseCode::ServFail, "trouble: server answers SERVFAIL"),
        (ResponseCode::NotImp, "trouble: server answers NOTIMP"),
        (ResponseCode::Unknown(3841), "trouble: server answers the error code 3841"),
        (
            ResponseCode::Refused,
            "refused: server answers REFUSED: it does not serve this name, or not to us",
        ),
    ] {
        assert_eq!(shown(code, &[address("h.test.", 9)], &[]), expected);
    }
}

#[test]
fn addresses_beside_the_records_are_kept_by_name() {
    let query = Query::query(name("s.test."), RecordType::SRV);
    let mut message = Message::query();
    let srv = RData::SRV(SRV::new(1, 1, 1, name("h.test.")));
    message.add_answer(record("s.test.", 9, srv));
    message.add_additionals([address("h.test.", 9), address("H.test.", 4), address("i.test.", 1)]);
    let Ok(Said::Records(records)) = read(&message, &query, "server") else { panic!("records") };
    let (addresses, ttl) = &records.beside[&name("h.test.")];
    assert_eq!((addresses.len(), ttl.as_secs(), records.ttl.as_secs()), (2, 4, 9));
}
