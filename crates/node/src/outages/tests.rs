//! Lists from replicas, and what they say of a request.

use super::*;

fn id(name: &str) -> TargetId {
    TargetId { provider: name.parse().unwrap(), model: "m".parse().unwrap() }
}

/// Each is a provider, and from where it is down; no region: everywhere.
fn list(revision: u64, outages: &[(&str, &[&str])]) -> v1::OutageList {
    let outage = |(provider, regions): &(&str, &[&str])| fleet::UpstreamOutage {
        provider: (*provider).to_owned(),
        model: "m".to_owned(),
        everywhere: regions.is_empty(),
        regions: if regions.is_empty() {
            vec!["eu".to_owned(), "us".to_owned()]
        } else {
            regions.iter().map(ToString::to_string).collect()
        },
        ..fleet::UpstreamOutage::default()
    };
    v1::OutageList { epoch: 1, revision, outages: outages.iter().map(outage).collect() }
}

fn about(outages: &Outages, targets: &[&str]) -> Option<Word> {
    let targets: Vec<_> = targets.iter().map(|name| id(name)).collect();
    outages.about(targets.iter())
}

fn from(regions: &[&str]) -> Option<Word> {
    Some(Word::From(regions.iter().map(|name| name.parse().unwrap()).collect()))
}

#[tokio::test(start_paused = true)]
async fn a_request_is_hopeless_where_none_of_its_targets_is_left() {
    let outages = Outages::default();
    assert_eq!(about(&outages, &["a"]), None);
    let told = list(1, &[("a", &[]), ("b", &[]), ("c", &["eu"]), ("d", &["eu", "ap"]), ("e", &["us"])]);
    outages.replace(&told, &"eu".parse().unwrap());
    for (targets, expected) in [
        (&[][..], None),
        (&["a"], Some(Word::Everywhere)),
        (&["a", "b"], Some(Word::Everywhere)),
        (&["a", "well"], None),
        (&["c"], from(&["eu"])),
        (&["a", "c"], from(&["eu"])),
        (&["d", "c"], from(&["eu"])),
        (&["d", "a"], from(&["ap", "eu"])),
        (&["c", "e"], None),
        (&["c", "e", "well"], None),
    ] {
        assert_eq!(about(&outages, targets), expected, "{targets:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_older_list_changes_nothing_and_what_nobody_repeats_is_forgotten() {
    let (outages, own) = (Outages::default(), "eu".parse().unwrap());
    let warned = |list: &v1::OutageList| outages.replace(list, &own).map(|(targets, _)| targets);
    assert_eq!(warned(&list(5, &[("a", &[]), ("b", &["eu"]), ("c", &["us"])])), Some([id("a"), id("c")].into()));
    assert_eq!(warned(&list(4, &[])), None, "a replica that lags");
    tokio::time::advance(LIFE - Duration::from_secs(1)).await;
    assert_eq!(about(&outages, &["a"]), Some(Word::Everywhere));
    assert_eq!(warned(&list(5, &[("a", &[]), ("b", &["eu"]), ("c", &["us"])])), Some([id("a"), id("c")].into()));
    tokio::time::advance(LIFE - Duration::from_secs(1)).await;
    assert_eq!(about(&outages, &["a"]), Some(Word::Everywhere), "it was repeated");
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(about(&outages, &["a"]), None, "it was not");
    assert_eq!(warned(&list(6, &[("a", &["us"])])), Some([id("a")].into()));
    assert_eq!(warned(&v1::OutageList { epoch: 2, ..list(1, &[]) }), Some(BTreeSet::new()), "a restored store");
    assert_eq!(about(&outages, &["a"]), None);
}
