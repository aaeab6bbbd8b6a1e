use super::DirectoryLock;

#[test]
fn the_second_is_told_who_holds_it() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("made");
    let held = DirectoryLock::take(&dir).unwrap();
    assert!(held.path().exists());
    let error = DirectoryLock::take(&dir).unwrap_err();
    assert!(error.message.ends_with(&format!("held by process {}", std::process::id())), "{error}");
    drop(held);
    DirectoryLock::take(&dir).unwrap();
}
