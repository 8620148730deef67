//! Disks that are full, and folders that can only be read. Both are made in a mount namespace of the worker's own, where even root
//! meets them and nothing has to be unmounted.

use std::path::Path;
use std::time::Duration;

use super::{SOON, data, end, folder, hand_in, open, says, setup, submission};
use crate::support::eventually;
use crate::support::worker::WorkerSetup;

/// A worker whose folder is what `mount` makes of it.
pub(crate) fn mounted(folder: &Path, mount: &str) -> WorkerSetup {
    let script = folder.join("mounted");
    let program = env!("CARGO_BIN_EXE_reprieve");
    let text = format!(
        "#!/bin/sh\nexec unshare --user --map-root-user --mount sh -c '{mount} && exec {program} \"$@\"' sh \"$@\"\n"
    );
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    setup(folder).program(&script)
}

/// While the disk is full nothing is answered; when there is room again the same worker goes on, and what it answered is there.
pub(crate) async fn a_full_disk_loses_nothing_that_was_answered() {
    let folder = folder("full");
    let disk = folder.join("disk");
    std::fs::create_dir(&disk).unwrap();
    let at = disk.display();
    let mount = format!("mount -t tmpfs -o size=16m tmpfs {at} && head -c 11000000 /dev/zero > {at}/ballast");
    let file = disk.join("reprieve.db");
    let setup = mounted(&folder, &mount).database_url(&format!("sqlite://{}", file.display()));
    let worker = setup.start();
    worker.wait_ready(SOON).await;
    let (mut answered, mut number) = (Vec::new(), 0);
    // Far more than there is room for.
    let refused = loop {
        assert!(number < 20_000, "the disk is never full");
        let names: Vec<String> = (number..number + 100).map(|number| format!("F{number:05}")).collect();
        number += 100;
        let envelopes: Vec<String> = names.iter().map(|name| submission(name)).collect();
        let envelopes: Vec<&str> = envelopes.iter().map(String::as_str).collect();
        match hand_in(&worker, &envelopes).await {
            Some(outcomes) => {
                assert!(outcomes.iter().all(|outcome| outcome == "applied"), "{outcomes:?}");
                answered.extend(names);
            }
            None => break envelopes.iter().map(ToString::to_string).collect::<Vec<_>>(),
        }
    };
    says(&worker, "make room on the disk").await;
    assert!(worker.exited().is_none(), "a full disk is waited out");
    // The disk is in the worker's own namespace: it is reached through the worker.
    let inside = Path::new("/proc").join(worker.pid().to_string()).join("root").join(disk.strip_prefix("/").unwrap());
    std::fs::remove_file(inside.join("ballast")).unwrap();
    let refused: Vec<&str> = refused.iter().map(String::as_str).collect();
    let taken = eventually("work to go on", Duration::from_secs(60), async || hand_in(&worker, &refused).await).await;
    assert!(taken.iter().all(|outcome| outcome == "applied" || outcome == "repeated"), "{taken:?}");
    // Nothing happens in it, so a copy is whole.
    for name in ["reprieve.db", "reprieve.db-wal"] {
        std::fs::copy(inside.join(name), folder.join(name)).unwrap();
    }
    let mut connection = open(&data(&folder)).await;
    let found: Vec<String> = sqlx::query_scalar("SELECT id FROM exceptions").fetch_all(&mut connection).await.unwrap();
    assert!(answered.iter().all(|name| found.contains(&format!("EX-{name}"))), "what was answered is there");
    assert_eq!(found.len(), answered.len() + refused.len());
    drop(connection);
    end(&worker).await;
}

pub(crate) async fn a_folder_that_can_only_be_read_is_refused() {
    let folder = folder("readonly");
    let disk = folder.join("disk");
    std::fs::create_dir(&disk).unwrap();
    let at = disk.display();
    let file = disk.join("reprieve.db");
    let mount = format!("mount -t tmpfs -o ro tmpfs {at}");
    let empty = mounted(&folder, &mount).database_url(&format!("sqlite://{}", file.display()));
    let output = empty.cli(&["run"]).await;
    let complained = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(5), "{complained}");
    assert!(complained.contains("can only be read") || complained.contains("Read-only file system"), "{complained}");

    let worker = setup(&folder).start();
    worker.wait_ready(SOON).await;
    hand_in(&worker, &[&submission("R1")]).await.unwrap();
    end(&worker).await;
    std::fs::copy(data(&folder), disk.join("reprieve.db")).unwrap();
    let mount = format!("mount --bind {at} {at} && mount -o remount,bind,ro {at}");
    let filled = mounted(&folder, &mount).database_url(&format!("sqlite://{}", file.display()));
    let output = filled.cli(&["run"]).await;
    let complained = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(5), "{complained}");
    let nowhere = setup(&folder).database_url(&format!("sqlite://{at}/nowhere/reprieve.db")).cli(&["run"]).await;
    let complained = String::from_utf8_lossy(&nowhere.stderr);
    assert_eq!(nowhere.status.code(), Some(5), "{complained}");
    assert!(complained.contains("nowhere"), "{complained}");
}
