//! Writes the fuzz targets' seeds to `fuzz/corpus`.

use std::{fs, io};

use mp_manager_tests::fuzz::{corpus, seeds};

fn main() -> io::Result<()> {
    for (target, name, data) in seeds() {
        let directory = corpus(target);
        fs::create_dir_all(&directory)?;
        fs::write(directory.join(name), data)?;
    }
    Ok(())
}
