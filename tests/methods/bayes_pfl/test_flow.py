import torch

from medzsad.methods.bayes_pfl.flow import ImageFlow, StateFlow, planar_flow


def test_log_determinant_is_that_of_the_jacobian() -> None:
    torch.manual_seed(0)
    u, w, beta = 0.4 * torch.randn(3, 5).double(), torch.randn(3, 5).double(), torch.randn(3).double()
    start = torch.randn(5).double()
    _, found = planar_flow(start, u, w, beta)
    jacobian = torch.autograd.functional.jacobian(lambda z: planar_flow(z, u, w, beta)[0], start)
    torch.testing.assert_close(found, torch.linalg.slogdet(jacobian).logabsdet, atol=1e-4, rtol=0)


def test_image_flow_treats_each_image_and_sample_alone() -> None:
    torch.manual_seed(0)
    flow = ImageFlow(width=6, hidden=4, flows=3)
    cls, noise = torch.randn(2, 6), torch.randn(2, 4, 6)
    both = flow(cls, noise)
    alone = flow(cls[1:], noise[1:, 2:3])
    torch.testing.assert_close(both.end[1, 2], alone.end[0, 0])
    torch.testing.assert_close(both.log_determinant[1, 2], alone.log_determinant[0, 0])


def test_start_has_the_mean_and_the_variance_that_the_flow_reports() -> None:
    torch.manual_seed(0)
    flow = ImageFlow(width=3, hidden=4, flows=1)
    sample = flow(torch.randn(1, 3), torch.randn(1, 40000, 3))
    torch.testing.assert_close(sample.start.mean(dim=1), sample.mean[:, 0], atol=0.03, rtol=0)
    torch.testing.assert_close(sample.start.var(dim=1).log(), sample.log_variance[:, 0], atol=0.03, rtol=0)


def test_state_flow_learns_through_its_samples() -> None:
    torch.manual_seed(0)
    flow, encoder = StateFlow(width=6, flows=2), ImageFlow(width=6, hidden=4, flows=2).encoder
    flow(encoder, torch.randn(3, 6)).end.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in flow.parameters())
