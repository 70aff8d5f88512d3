//! A function of this program, in four processes.
//!
//! ```text
//! $ cargo run --example pool
//! squares: [0, 1, 4, 9, 16, 25, 36, 49, 64, 81]
//! 2 4 6 8 10
//! input 3: task `pool::invert` (input 3, 3 others succeeded) failed: there is no inverse of 0
//! ```

use mp_manager::{Pool, Result, task};

#[task]
fn square(x: i64) -> i64 {
    x * x
}

#[task]
fn double(x: i64) -> i64 {
    2 * x
}

#[task]
fn invert(x: i32) -> Result<f64, String> {
    if x == 0 { Err("there is no inverse of 0".into()) } else { Ok(1.0 / f64::from(x)) }
}

#[mp_manager::main]
async fn main() -> Result<()> {
    let pool = Pool::new(4).await?;

    // All results, in the order of the inputs.
    let squares = pool.map(square, 0..10).await?;
    println!("squares: {squares:?}");

    // One by one, as they come, from an iterator without an end.
    let mut doubles = pool.imap(double, 1..);
    for _ in 0..5 {
        if let Some(next) = doubles.next().await {
            print!("{} ", next?);
        }
    }
    println!();

    // The first error ends it, and says where it was.
    if let Err(error) = pool.map(invert, [3, 2, 1, 0]).progress().await {
        println!("input 3: {error}");
    }

    pool.close().await?;
    pool.join().await
}
