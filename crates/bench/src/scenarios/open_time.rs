//! From the daemon's start to the first block, by the volume's size and by how many blocks are mapped.

use std::time::Instant;

use anyhow::Result;

use super::{Cell, Scenario, Settings, Table, connect};
use crate::{
    client::{Client, Request},
    load::{Kind, Load, Templates},
    servers::{EskerSettings, Peer, Plan, Server},
    statistics::median,
};

const GIB: u64 = 1 << 30;
/// Size, and random blocks that are written.
const VOLUMES: [(u64, u64); 5] =
    [(GIB, 0), (GIB, 65_536), (64 * GIB, 65_536), (1024 * GIB, 65_536), (10_240 * GIB, 65_536)];
const TIMES: usize = 3;

pub(super) fn run(settings: &Settings<'_>) -> Result<Table> {
    let mut rows = Vec::new();
    for (number, (size_bytes, blocks)) in VOLUMES.into_iter().enumerate() {
        let directory = settings.directory.join(number.to_string());
        let esker = EskerSettings { durability: "ephemeral".into(), ..settings.esker.clone() };
        let plan = Plan { esker, before: None, exports: 1, size_bytes };
        let server = Server::start(Peer::Esker, &directory, &plan, settings.stop)?;
        let load =
            Load { kind: Kind::Write, request_bytes: 4096, depth: 32, area_bytes: size_bytes, rate: None };
        connect(&server, "v0", Templates::default(), 1)?.some(&load, blocks, settings.stop)?;
        let ending = Instant::now();
        server.terminate()?;
        let drained = ending.elapsed();
        let (mut opened, mut read) = (Vec::new(), Vec::new());
        for _ in 0..TIMES {
            let begun = Instant::now();
            let server = Server::start(Peer::Esker, &directory, &plan, settings.stop)?;
            opened.push(begun.elapsed().as_secs_f64());
            let mut client = Client::connect(&server.socket, "v0")?;
            let begun = Instant::now();
            client.call(Request::Read { offset: 0, length: 4096 })?;
            read.push(begun.elapsed().as_secs_f64());
            server.terminate()?;
        }
        let seconds = |values: &[f64]| Cell::Time(std::time::Duration::from_secs_f64(median(values)));
        rows.push(vec![
            Cell::Text(format!("{} GiB", size_bytes / GIB)),
            Cell::Number(blocks as f64),
            Cell::Time(drained),
            seconds(&opened),
            seconds(&read),
        ]);
        std::fs::remove_dir_all(directory)?;
    }
    let head = vec!["size", "random blocks written", "drain and end", "start to ready", "first block"];
    Ok(Table::new(Scenario::OpenTime, head, rows))
}
