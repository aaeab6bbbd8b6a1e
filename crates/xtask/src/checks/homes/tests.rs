use super::check;
use crate::house::House;

fn findings(path: &str, text: &str) -> Vec<String> {
    let path = format!("crates/engine/src/{path}");
    check(&House::of(&[(&path, text)])).iter().map(ToString::to_string).collect()
}

#[test]
fn each_call_has_its_home() {
    let put = "fn f() { x.put_new(name, body).await }";
    assert_eq!(findings("commit.rs", put).len(), 1);
    assert!(findings("upload.rs", put).is_empty());
    assert!(findings("pool/probe.rs", put).is_empty());

    let delete = "fn f() { self.objects.delete(name).await }";
    assert_eq!(findings("volume.rs", delete).len(), 1);
    assert!(findings("reclaim/rounds.rs", delete).is_empty());

    let get = "fn f() { self\n  .store()\n  .get(name, Range::All).await }";
    assert_eq!(
        findings("recover.rs", get),
        ["crates/engine/src/recover.rs:3: only fetch and upload and probe may call .get( on the store"]
    );
    assert!(findings("fetch/frames.rs", get).is_empty());
    assert!(findings("fetch.rs", get).is_empty());
}

#[test]
fn maps_may_be_asked() {
    assert!(
        findings("volume.rs", "fn f() { self.names.get(&x); disk.list(dir)?; names.list(); }").is_empty()
    );
}

#[test]
fn the_store_is_not_handed_around() {
    assert_eq!(findings("volume.rs", "fn f(w: &World) { let o = &self.world.objects; }").len(), 1);
    assert_eq!(findings("volume.rs", "fn f(p: &Pool) { let o = p.world().objects.clone(); }").len(), 1);
    assert_eq!(findings("volume.rs", "use esker_io::Objects;").len(), 1);
    assert!(findings("volume.rs", "fn f(r: &Report) { r.objects + 1; }").is_empty());
    assert!(findings("volume.rs", "use esker_io::objects::StoreErrorKind;").is_empty());
    assert!(findings("upload.rs", "fn f(w: &World) { let o = &w.world.objects; }").is_empty());
}

#[test]
fn tests_may_do_anything() {
    assert!(findings("commit.rs", "#[cfg(test)]\nmod tests { fn f() { x.put_new(a, b); } }").is_empty());
}
