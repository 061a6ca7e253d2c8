//! Generates the rooms' walls from `proto/`. protox compiles the files in Rust, so no `protoc` has
//! to be installed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = [
        "proto/common.proto",
        "proto/acme.proto",
        "proto/alarm.proto",
        "proto/oidc.proto",
        "proto/reader.proto",
        "proto/door.proto",
        "proto/vault.proto",
        "proto/courier.proto",
    ];
    for f in files {
        println!("cargo:rerun-if-changed={f}");
    }
    let set = protox::compile(files, ["proto"])?;
    tonic_prost_build::configure()
        .bytes(".matron.v1.ReadRequest")
        .bytes(".matron.v1.ReadReply")
        .bytes(".matron.v1.DeviceBody")
        .bytes(".matron.v1.CoreRequest")
        .bytes(".matron.v1.CoreReply")
        .bytes(".matron.v1.Warranted")
        .compile_fds(set)?;
    Ok(())
}
