//! Who brings more is paid more.

use crate::network::{Act, Plan, World};
use templar_base::{Alpha, Genesis, Window};
use templar_chain::Chain;

const LAST: Window = Window(6);

/// Two miners do everything alike and openly, one of them with a quarter of the steps. Both act on the test's clock, so
/// that no load of the machine changes what they train.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_miner_that_contributes_more_earns_more() {
    // Whoever helps at all is merged, so that all differences are differences of pay.
    let everybody = |genesis: &mut Genesis| genesis.judging.admission_share = 0.01;
    let plan = Plan { adversaries: vec![Act::Honest, Act::Brief], genesis: everybody, ..Plan::new("pay", 2, 1) };
    let mut world = World::new(plan).await;
    world.run_through(LAST).await;
    let story = world.story();
    assert_eq!(world.impatience, Vec::<String>::new(), "{story}");
    let (strong, weak) = (&world.adversaries[0], &world.adversaries[1]);
    let metagraph = world.chain.inner.metagraph(world.run.genesis.netuid, None).await.unwrap();
    let slot = |uid| metagraph.neurons.iter().find(|neuron| neuron.uid == uid).unwrap();
    let (strong_slot, weak_slot) = (slot(strong.uid), slot(weak.uid));
    assert!(strong_slot.incentive > weak_slot.incentive, "{strong_slot:?}, {weak_slot:?}\n{story}");
    assert!(strong_slot.emission > weak_slot.emission, "{strong_slot:?}, {weak_slot:?}\n{story}");
    // Miners stake nothing themselves: what is behind their keys is what they earned in all epochs.
    let (strong_pay, weak_pay) = (world.stake(&strong.hotkey), world.stake(&weak.hotkey));
    assert!(weak_pay > Alpha::ZERO && strong_pay > weak_pay, "{strong_pay} and {weak_pay}\n{story}");
}
