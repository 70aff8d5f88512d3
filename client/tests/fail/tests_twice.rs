mod tests {
    #[mp_manager::test]
    #[tokio::test]
    async fn works() {}
}

fn main() {}
