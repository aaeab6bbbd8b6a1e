//! A volume to serve, as the command line, the environment and the file name it.

use esker_format::names;

use crate::size;

/// A volume to serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct VolumeArg {
    pub(crate) name: String,
    /// Absent: it must exist.
    pub(crate) size_bytes: Option<u64>,
    pub(crate) read_only: bool,
}

/// Behind the name of a volume that is served read-only, in a list.
const READ_ONLY: &str = ":ro";

/// Reads `NAME[=SIZE]`.
pub(crate) fn parse(text: &str) -> Result<VolumeArg, String> {
    let (name, size_bytes) = match text.split_once('=') {
        Some((name, size)) => (name, Some(size::parse(size)?)),
        None => (text, None),
    };
    names::valid_volume_name(name).map_err(|error| error.to_string())?;
    Ok(VolumeArg { name: name.to_owned(), size_bytes, read_only: false })
}

/// Reads the name of a volume or a snapshot that is served read-only.
pub(crate) fn parse_read_only(name: &str) -> Result<VolumeArg, String> {
    names::valid_name(name).map_err(|error| error.to_string())?;
    Ok(VolumeArg { name: name.to_owned(), size_bytes: None, read_only: true })
}

/// Reads a list, such as `demo=10G,scratch,old:ro`. Each is named once.
pub(super) fn parse_list(text: &str) -> Option<Vec<VolumeArg>> {
    let mut volumes = Vec::<VolumeArg>::new();
    for item in text.split(',').map(str::trim) {
        let volume = match item.strip_suffix(READ_ONLY) {
            Some(name) => parse_read_only(name).ok()?,
            None => parse(item).ok()?,
        };
        if volumes.iter().any(|before| before.name == volume.name) {
            return None;
        }
        volumes.push(volume);
    }
    Some(volumes)
}

/// The list that [`parse_list`] reads.
pub(super) fn show_list(volumes: &[VolumeArg]) -> String {
    let show = |volume: &VolumeArg| match (volume.read_only, volume.size_bytes) {
        (true, _) => format!("{}{READ_ONLY}", volume.name),
        (false, Some(bytes)) => format!("{}={}", volume.name, bytes),
        (false, None) => volume.name.clone(),
    };
    volumes.iter().map(show).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read() {
        let volumes = parse_list("demo=10G, scratch,old:ro,old@one:ro").unwrap();
        assert_eq!(show_list(&volumes), format!("demo={},scratch,old:ro,old@one:ro", 10_u64 << 30));
        assert_eq!(parse_list(&show_list(&volumes)), Some(volumes));
        for wrong in ["", "a,", "a,a", "a,a:ro", "a=1G:ro", "A", "a=much", ":ro", "a b", "a@b", "a@b@c:ro"] {
            assert_eq!(parse_list(wrong), None, "{wrong}");
        }
    }
}
