//! What rounds count of each segment, while roots come and go.

use esker_format::head::{Head, HeadKind};
use esker_format::ids::VolumeId;
use esker_format::names;

use super::{Scenario, plain, reclaim::checkpoint, store::few_heads};
use crate::lab::{Lab, Outcome, violation};

pub(super) fn all() -> Vec<Scenario> {
    let few = |name, script| Scenario { setup: few_heads, ..plain(name, script) };
    vec![few("count-shared", shared), few("count-tail", tail)]
}

/// Rule R5: a slot that two roots reach stays alive when one of them goes.
fn shared(lab: &mut Lab) -> Outcome {
    lab.open(0)?;
    lab.write(0, 12)?;
    checkpoint(lab, 0)?;
    let copied = fork(lab)?;
    for round in 1..4 {
        // A part of what the fork shares is overwritten: the leaf is another one, most of its slots are the same.
        checkpoint(lab, round)?;
        lab.look(0)?;
    }
    lab.machine().store().replace(&copied, None);
    let before = lab.look(0)?;
    lab.write(0, 3)?;
    lab.run_ms(1_500)?;
    let after = lab.look(0)?;
    if before.planned.plan.now.live_bytes == 0 || after.planned.plan.verdicts.is_empty() {
        return Err(violation("nothing was counted"));
    }
    lab.read_all()
}

/// What a tail names and no page does yet.
fn tail(lab: &mut Lab) -> Outcome {
    lab.open(0)?;
    checkpoint(lab, 0)?;
    for round in 0..4 {
        lab.write(round * 3, 5)?;
        lab.run_ms(1_200)?;
        lab.look(0)?;
    }
    lab.read_all()
}

/// Puts a fork's head into the store: another volume that begins with the newest state of this one. Returns its name.
fn fork(lab: &mut Lab) -> Outcome<String> {
    let store = lab.machine().store().clone();
    let heads = lab.head_names();
    let read =
        |name: &String| store.object(name).and_then(|bytes| Some(Head::parse(&bytes).ok()?.peek().clone()));
    let newest = heads.iter().filter_map(read).max_by_key(|head| head.number);
    let newest = newest.ok_or_else(|| violation("the volume has no head"))?;
    let volume = VolumeId([0x5e; 16]);
    let (pieces, piece) = (Vec::new(), Vec::new());
    let sequence = newest.covered();
    let head = Head {
        volume,
        number: 1,
        epoch: 1,
        previous: None,
        kind: HeadKind::Released,
        sequence,
        pieces,
        piece,
        ..newest
    };
    let name = names::head(volume, 1);
    store.replace(&name, Some(head.encode().into()));
    Ok(name)
}
