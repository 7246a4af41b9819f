"""scikit-learn's callbacks, 1.9 and later: told of every epoch, able to stop, harmless where there are none."""

import pytest
from sklearn.model_selection import GridSearchCV

from flowexpr import FlowExpressionClassifier

callbacks = pytest.importorskip("sklearn.callback", reason="scikit-learn before 1.9 has no callbacks")


def test_scoring_monitor_sees_every_epoch(two_features, tiny):
    monitor = callbacks.ScoringMonitor(scoring=["accuracy", "neg_log_loss"])
    clf = tiny(max_epochs=3).set_callbacks(monitor).fit(*two_features)
    log = monitor.get_logs().data
    assert len(log) == 3 + 1  # every epoch, and the fit as a whole
    assert [row["accuracy"] for row in log][-1] == clf.score(*two_features)
    losses = [row["neg_log_loss"] for row in log]
    assert len(set(losses[:3])) == 3


def test_scoring_monitor_changes_no_weight(colour_images, tiny, same_weights, fitted_images):
    monitor = callbacks.ScoringMonitor(scoring="accuracy")
    assert same_weights(tiny().set_callbacks(monitor).fit(*colour_images), fitted_images)


def test_callbacks_are_told_of_the_training_that_stays(two_features, tiny):
    monitor = callbacks.ScoringMonitor(scoring="accuracy")
    tiny(max_epochs=3, calibrate="temperature").set_callbacks(monitor).fit(*two_features)
    assert len(monitor.get_logs().data) == 3 + 1


def test_callback_can_stop_training(two_features, tiny):
    class StopAfterTwo:
        def setup(self, estimator, context):
            self.n_epochs = 0

        def teardown(self, estimator, context):
            pass

        def on_fit_task_begin(self, estimator, context):
            pass

        def on_fit_task_end(self, estimator, context):
            self.n_epochs += context.task_name == "epoch"
            return self.n_epochs == 2

    clf = tiny(max_epochs=10).set_callbacks(StopAfterTwo()).fit(*two_features)
    assert len(clf.history_) == 2
    assert clf.predict(two_features[0]).shape == (60,)


def test_callback_sees_a_fitted_estimator_in_full(colour_images, tiny):
    X, y = colour_images
    seen = []

    class Look:
        def setup(self, estimator, context):
            pass

        def teardown(self, estimator, context):
            seen.append("teardown")

        def on_fit_task_begin(self, estimator, context):
            pass

        def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
            seen.append(fitted_estimator.predict_proba(X).shape)
            seen.append(len(fitted_estimator.history_))

    tiny(max_epochs=2).set_callbacks(Look()).fit(X, y)
    assert seen == [(24, 3), 1, (24, 3), 2, (24, 3), 2, "teardown"]


def test_callbacks_are_torn_down_after_ctrl_c(colour_images, tiny):
    def interrupt(images, generator):
        raise KeyboardInterrupt

    monitor = callbacks.ScoringMonitor(scoring="accuracy")
    clf = tiny(augment=interrupt).set_callbacks(monitor)
    with pytest.raises(KeyboardInterrupt):
        clf.fit(*colour_images)
    clf.set_params(augment=False).fit(*colour_images)
    assert len(monitor.get_logs().data) >= 3


def test_callbacks_of_a_finished_call(two_features, tiny, tmp_path):
    monitor = callbacks.ScoringMonitor(scoring="accuracy")
    tiny(checkpoint_dir=tmp_path).set_callbacks(monitor).fit(*two_features)
    again = tiny(checkpoint_dir=tmp_path).set_callbacks(monitor).fit(*two_features)
    assert again.predict(two_features[0]).shape == (60,)


def test_progress_bar_of_scikit_learn(two_features, tiny, capsys):
    pytest.importorskip("rich", reason="scikit-learn's progress bar needs rich")
    tiny(max_epochs=3).set_callbacks(callbacks.ProgressBar()).fit(*two_features)
    captured = capsys.readouterr()
    assert "FlowExpressionClassifier" in captured.out + captured.err


def test_progress_bar_reaches_the_folds_of_a_search(two_features, tiny, capsys):
    pytest.importorskip("rich", reason="scikit-learn's progress bar needs rich")
    search = GridSearchCV(tiny(max_epochs=2), {"head": ["conditional", "gmm"]}, cv=2)
    search.set_callbacks(callbacks.ProgressBar(max_propagation_depth=None)).fit(*two_features)
    assert "FlowExpressionClassifier" in capsys.readouterr().out


def test_estimator_works_without_callbacks(two_features, tiny, monkeypatch):
    """As with scikit-learn before 1.9, whose estimators have no `_init_callback_context`."""
    plain = FlowExpressionClassifier
    monkeypatch.setattr(plain, "_init_callback_context", property(lambda self: (_ for _ in ()).throw(AttributeError)))
    assert not hasattr(tiny(), "_init_callback_context")
    assert tiny().fit(*two_features).predict(two_features[0]).shape == (60,)
