"""The head's likelihoods, value by value: they sum to what training sees."""

import pytest
import torch

from flowexpr.flows.heads import ConditionalFlow, GaussianMixture

Z1_SHAPE = (6, 2, 3)


@pytest.fixture(params=["conditional", "gmm"])
def head(request):
    generator = torch.Generator().manual_seed(0)
    if request.param == "gmm":
        return GaussianMixture(Z1_SHAPE, 3, generator=generator).double()
    head = ConditionalFlow(Z1_SHAPE, 3, n_flows=2, hidden_channels=8, generator=generator).double()
    with torch.no_grad():
        for weight in head.parameters():
            weight.add_(0.1 * torch.randn(weight.shape, generator=generator))
    return head.eval()


def test_terms_and_the_shared_log_det_sum_to_the_log_likelihoods(head):
    z1 = torch.randn(4, *Z1_SHAPE, generator=torch.Generator().manual_seed(1)).double()
    with torch.no_grad():
        terms = head.terms_of_all_classes(z1)
        total = terms.flatten(2).sum(2) + head.shared_log_det()
        torch.testing.assert_close(total, head.log_prob_of_all_classes(z1), rtol=1e-12, atol=1e-10)
    assert terms.shape[:2] == (4, 3)
    assert terms.shape[3:] == Z1_SHAPE
