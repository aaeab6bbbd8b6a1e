//! A crash after every step of every scenario.

use esker_sim::{enumerate, scenarios};

fn enumerate(name: &str) {
    let scenario = scenarios::find(name).expect("a scenario of that name");
    let start = std::time::Instant::now();
    let tally = enumerate::all(&scenario, 1);
    eprintln!("{name}: {} points in {:?}", tally.points, start.elapsed());
    enumerate::expect_none(&scenario, 1, &tally).unwrap();
}

#[test]
fn writes() {
    enumerate("writes");
}

#[test]
fn overwrite() {
    enumerate("overwrite");
}

#[test]
fn ranges() {
    enumerate("ranges");
}
