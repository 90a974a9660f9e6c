import math

import pytest
import torch
from scipy.stats import norm

from unbraid.claims.scan import made_posteriors
from unbraid.core.errors import DataError
from unbraid.core.method import At, Optim
from unbraid.data.dataset import MemoryDataset
from unbraid.data.factors import FactorTable
from unbraid.losses.gaussian import kl
from unbraid.methods.signal.symbols import SymbolLearner, SymbolOptions, Symbols, even_cut, every_symbol, learn_symbols
from unbraid.testing.contract import check_method


def test_a_symbol_is_a_pair_for_each_concept_and_silence_where_nothing_is_known():
    symbols = Symbols(3, 4, 8)
    symbols.edges.copy_(torch.tensor([0.5, 30.0, 0.5]))
    factors = torch.tensor([[1.0, 20.0, 0.0], [0.0, 40.0, 1.0]])
    known = torch.tensor([[True, True, False], [True, True, True]])
    said = symbols.symbol(factors, known)
    assert said.tolist() == [[[0, 1], [1, 0], [0, 0]], [[1, 0], [0, 1], [0, 1]]]
    assert every_symbol(2)[3].tolist() == [[0, 0], [0, 1]]


def by_quadrature(mu_x, s_x, mu_y, s_y):
    """KL of two normals by a sum over a fine grid."""
    x = torch.linspace(-8, 8, 40_001, dtype=torch.float64).numpy()
    p, q = norm.logpdf(x, mu_x, s_x), norm.logpdf(x, mu_y, s_y)
    return float((torch.from_numpy(p).exp() * torch.from_numpy(p - q)).sum() * (16 / 40_000))


@pytest.mark.parametrize("direction", ["forward", "reverse"])
def test_the_loss_is_its_three_terms(direction):
    torch.manual_seed(0)
    symbols, options = Symbols(2, 3, 8), SymbolOptions(direction=direction, drop=0.5)
    mu, logvar = torch.randn(6, 3), torch.randn(6, 3)
    y = every_symbol(2)[[0, 1, 2, 3, 0, 1]] + every_symbol(2)[[2, 3, 0, 1, 3, 2]]
    terms = symbols.loss(mu, logvar, y, At(generator=torch.Generator().manual_seed(3)), options)
    g = torch.Generator().manual_seed(3)
    said = y * (torch.rand(6, 2, generator=g) >= 0.5)[:, :, None]
    mine, spread = symbols.encoder(said.flatten(1)).chunk(2, 1)
    z = mine + (spread / 2).exp() * torch.randn(6, 3, generator=g)
    chance = symbols.decoder(z).reshape(6, 2, 2).softmax(2)
    expected = torch.stack([-(s[s > 0] * c[s > 0].log()).sum() for s, c in zip(said, chance, strict=True)])
    torch.testing.assert_close(terms["label"], expected)
    torch.testing.assert_close(terms["prior"][1], 0.5 * (mine**2 + spread.exp() - spread - 1).sum(1))
    assert (terms["prior"][0], terms["relation"][0]) == (1.0, 10.0)
    sides = [mu, (logvar / 2).exp(), mine, (spread / 2).exp()]
    sides = sides if direction == "forward" else sides[2:] + sides[:2]
    wanted = sum(by_quadrature(*(t[0, j].item() for t in sides)) for j in range(3))
    assert terms["relation"][1][0].item() == pytest.approx(wanted, rel=1e-3)


def test_the_divergence_of_the_closed_form():
    found = kl(torch.tensor(0.5), torch.tensor(2 * math.log(0.3)), 0.0, 0.0)
    assert found.item() == pytest.approx(math.log(1 / 0.3) + (0.09 + 0.25) / 2 - 0.5, abs=1e-6)
    assert found.item() == pytest.approx(0.873973, abs=1e-6)


def test_posteriors_of_items_are_constants():
    symbols = Symbols(1, 2, 4)
    mu = torch.randn(3, 2, requires_grad=True)
    terms = symbols.loss(mu.detach(), torch.zeros(3, 2), every_symbol(1)[[0, 1, 1]], At(), SymbolOptions())
    sum(t[1].sum() if isinstance(t, tuple) else t.sum() for t in terms.values()).backward()
    assert mu.grad is None
    assert all(p.grad is not None for p in symbols.parameters())


def test_values_are_cut_as_evenly_as_they_can_be():
    assert even_cut(torch.tensor([3.0, 3.0])) is None
    assert even_cut(torch.tensor([])) is None
    assert even_cut(torch.tensor([0.0, 0.0, 0.0, 1.0])) == 0.5
    assert even_cut(torch.tensor([1.0, 1.0, 1.0, 2.0, 3.0, 4.0])) == 1.5
    assert even_cut(torch.arange(10.0)) == 4.5


def test_a_factor_of_one_value_is_refused():
    table = FactorTable.from_columns({"a": [1, 1, 1], "b": [0, 1, None]})
    data = MemoryDataset("one", torch.randn(3, 4), table)
    with pytest.raises(DataError, match=r"factor 'a': expected a factor of two values or more, got one value"):
        learn_symbols(data, SymbolOptions(symbol_steps=1), torch.device("cpu"))
    known = MemoryDataset("two", torch.randn(3, 4), table.without("a"))
    assert learn_symbols(known, SymbolOptions(symbol_steps=1), torch.device("cpu")).edges.tolist() == [0.5]


def test_a_label_is_narrow_where_it_decides_and_as_wide_as_the_prior_elsewhere():
    options = SymbolOptions(symbol_steps=300, symbol_batch=128, symbol_optim=Optim("adam", lr=4e-3))
    data = made_posteriors(2000, 1)
    sigma = {}
    for direction in ("forward", "reverse"):
        told = SymbolOptions(**{**vars(options), "direction": direction})
        symbols = learn_symbols(data, told, torch.device("cpu"), seed=1)
        sigma[direction] = (0.5 * symbols.posterior(every_symbol(2))[1][1]).exp().detach()
    assert sigma["forward"][0] < 0.6
    assert sigma["forward"][1:].min() > 0.8
    assert sigma["reverse"].max() < 0.4


def test_the_second_stage_alone_holds_the_contract():
    options = SymbolOptions(hidden=8, symbol_batch=4, symbol_steps=3)
    check_method(SymbolLearner, made_posteriors(24, 0), options)


def test_the_same_seed_learns_the_same_and_leaves_chance_alone():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    options, data = SymbolOptions(hidden=8, symbol_steps=3), made_posteriors(80, 0)
    one, two = (learn_symbols(data, options, torch.device("cpu"), seed=4).state_dict() for _ in range(2))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert torch.equal(before, torch.get_rng_state())
