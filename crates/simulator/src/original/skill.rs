//! Skill by ranks: the Plackett–Luce update of Weng and Lin, "A Bayesian approximation method for online ranking"
//! (Journal of Machine Learning Research 12, 2011, algorithm 4), for teams of one, with the constants that the original's
//! library and settings have.
//!
//! ```text
//! σ² ← σ² + τ²,   c = √Σ (σ_i² + β²),   e_i = exp(μ_i/c)
//! A_q = number with q's rank,   C_q = {i: i is not ahead of q},   p_iq = e_i / Σ_{s ∈ C_q} e_s
//! Ω_i = σ_i²/c · Σ_{q not behind i} (1[i = q] − p_iq) / A_q
//! Δ_i = γ_i · σ_i²/c² · Σ_{q not behind i} p_iq (1 − p_iq) / A_q,   γ_i = σ_i/c
//! μ_i ← μ_i + Ω_i,   σ_i² ← σ_i² · max(1 − Δ_i, κ)
//! ```

const BETA: f64 = 7.0;
const TAU: f64 = 0.1;
/// No update makes a variance smaller than this part of it.
const KAPPA: f64 = 1e-4;

/// What is believed of one player.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Skill {
    pub mean: f64,
    pub deviation: f64,
}

impl Default for Skill {
    fn default() -> Self {
        Self { mean: 25.0, deviation: 25.0 / 3.0 }
    }
}

impl Skill {
    /// Mean less three deviations: 0 for a new player.
    pub fn ordinal(&self) -> f64 {
        self.mean - 3.0 * self.deviation
    }
}

/// Updates the players of one game; a higher score is better, equal scores are a draw.
pub(super) fn play(players: &mut [Skill], scores: &[f64]) {
    let variances: Vec<f64> = players.iter().map(|own| own.deviation * own.deviation + TAU * TAU).collect();
    let c = variances.iter().map(|variance| variance + BETA * BETA).sum::<f64>().sqrt();
    let strengths: Vec<f64> = players.iter().map(|own| (own.mean / c).exp()).collect();
    let behind =
        |q: usize| -> f64 { (0..scores.len()).filter(|s| scores[*s] <= scores[q]).map(|s| strengths[s]).sum() };
    let sums: Vec<f64> = (0..scores.len()).map(behind).collect();
    let draws: Vec<f64> = scores.iter().map(|own| scores.iter().filter(|other| *other == own).count() as f64).collect();
    for i in 0..players.len() {
        let (mut omega, mut delta) = (0.0, 0.0);
        for q in (0..scores.len()).filter(|q| scores[*q] >= scores[i]) {
            let p = strengths[i] / sums[q];
            omega += (if q == i { 1.0 - p } else { -p }) / draws[q];
            delta += p * (1.0 - p) / draws[q];
        }
        let gamma = variances[i].sqrt() / c;
        players[i].mean += variances[i] / c * omega;
        let left = 1.0 - gamma * variances[i] / (c * c) * delta;
        players[i].deviation = (variances[i] * left.max(KAPPA)).sqrt();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_better_rises_a_draw_moves_little_and_everyone_becomes_surer() {
        let mut players = [Skill::default(); 3];
        play(&mut players, &[3.0, 2.0, 1.0]);
        assert!(players[0].mean > players[1].mean && players[1].mean > players[2].mean);
        assert!(players.iter().all(|own| own.deviation < 25.0 / 3.0));
        let mut equal = [Skill::default(); 2];
        play(&mut equal, &[1.0, 1.0]);
        assert!((equal[0].mean - equal[1].mean).abs() < 1e-12);
    }

    #[test]
    fn two_equal_players_move_by_half_of_what_the_variance_allows() {
        // With equal strengths p is 1/2 for the winner and the loser's sum has p = 1/2 and then 1.
        let mut players = [Skill::default(); 2];
        play(&mut players, &[1.0, 0.0]);
        let variance = (25.0f64 / 3.0).powi(2) + TAU * TAU;
        let c = (2.0 * (variance + BETA * BETA)).sqrt();
        assert!((players[0].mean - (25.0 + variance / c * 0.5)).abs() < 1e-9);
        assert!((players[1].mean - (25.0 - variance / c * 0.5)).abs() < 1e-9);
    }
}
